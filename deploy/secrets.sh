#!/bin/sh
# Creates all secrets, in a separate folder for each component: secrets.sh DIR
# Existing files are never overwritten: to renew a secret, delete its file and run this again.
# Run as root, it makes each component's user the owner of its files. Run as another user, it does not change the owner.
set -eu
umask 077

dir=${1:?the folder for the secrets is missing: secrets.sh DIR}
days=825 # validity of a certificate; the authority is valid for ten years

ELASTICSEARCH=1000:0
GRAFANA=472:472
TOCSIN=10001:10001
MAILPIT=10002:10002

say() { echo "secrets: $1"; }

# keep FILE OWNER MODE: finish FILE.new: set its mode and owner, and rename it to FILE.
keep() {
  [ -s "$dir/$1.new" ] || { say "$1 could not be created"; exit 1; }
  chmod "$3" "$dir/$1.new"
  if [ "$(id -u)" = 0 ]; then chown "$2" "$dir/$1.new"; fi
  mv "$dir/$1.new" "$dir/$1"
  say "created $1"
}

# random FILE OWNER: 32 random bytes as 64 hexadecimal digits, without a line end.
random() {
  if [ -e "$dir/$1" ]; then return; fi
  openssl rand -hex 32 | tr -d '\n' > "$dir/$1.new"
  keep "$1" "$2" 0400
}

# copied FROM TO OWNER: copy a file, unless it exists.
copied() {
  if [ -e "$dir/$2" ]; then return; fi
  cat "$dir/$1" > "$dir/$2.new"
  keep "$2" "$3" 0400
}

authority() {
  if [ -e "$dir/ca/ca.crt" ]; then return; fi # its key may be stored elsewhere while no certificate has to be signed
  if [ -e "$dir/authority/ca.key" ]; then
    say "ca/ca.crt is missing although authority/ca.key exists: restore ca/ca.crt; or delete the key and every tls.crt to create a new authority"
    exit 1
  fi
  openssl ecparam -name prime256v1 -genkey -noout -out "$dir/authority/ca.key.new"
  openssl req -x509 -new -sha256 -days 3650 -key "$dir/authority/ca.key.new" -subj "/CN=Tocsin's own authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -out "$dir/ca/ca.crt.new"
  keep authority/ca.key 0:0 0400
  keep ca/ca.crt 0:0 0444
}

# certificate NAME OWNER: create a key and a certificate for a service with that name.
certificate() {
  if [ -e "$dir/$1/tls.crt" ]; then return; fi
  if [ ! -e "$dir/authority/ca.key" ]; then
    say "$1/tls.crt cannot be signed without authority/ca.key: restore the key that ca/ca.crt was created with"
    exit 1
  fi
  openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$dir/$1/tls.key.new"
  printf '%s\n' "subjectAltName=DNS:$1,DNS:localhost,IP:127.0.0.1" "basicConstraints=critical,CA:FALSE" \
    "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth,clientAuth" \
    "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" > "$dir/$1/tls.ext"
  openssl req -new -sha256 -key "$dir/$1/tls.key.new" -subj "/CN=$1" |
    openssl x509 -req -sha256 -days "$days" -CA "$dir/ca/ca.crt" -CAkey "$dir/authority/ca.key" \
      -set_serial "0x$(openssl rand -hex 16)" -extfile "$dir/$1/tls.ext" -out "$dir/$1/tls.crt.new" 2>/dev/null
  rm "$dir/$1/tls.ext"
  keep "$1/tls.key" "$2" 0400
  keep "$1/tls.crt" "$2" 0444
}

for folder in authority ca elasticsearch setup worker grafana mailpit; do mkdir -p "$dir/$folder"; done
authority
certificate elasticsearch "$ELASTICSEARCH"
certificate grafana "$GRAFANA"
random elasticsearch/password "$ELASTICSEARCH"
copied elasticsearch/password setup/password "$TOCSIN"
random worker/pseudonym-key "$TOCSIN"
random grafana/admin-password "$GRAFANA"
random grafana/secret-key "$GRAFANA"
random mailpit/password 0:0
if [ ! -e "$dir/mailpit/users" ]; then
  printf 'tocsin:%s\n' "$(openssl passwd -6 -stdin < "$dir/mailpit/password")" > "$dir/mailpit/users.new"
  keep mailpit/users "$MAILPIT" 0400
fi

chmod 0755 "$dir/ca"
if [ "$(id -u)" = 0 ]; then
  # The setup job writes API keys into these two; Grafana reads its key as a member of the group.
  chmod 2750 "$dir/grafana" && chown 10001:472 "$dir/grafana"
  chown "$TOCSIN" "$dir/worker" "$dir/setup"
  chown "$ELASTICSEARCH" "$dir/elasticsearch"
  chown "$MAILPIT" "$dir/mailpit"
  if [ -d "$dir/snapshots" ]; then chown "$ELASTICSEARCH" "$dir/snapshots"; fi
fi
say "all secrets exist"
