#!/bin/sh
# Makes all that must be secret, in a folder of its own for each component: secrets.sh DIR
# What is there already is never overwritten: to renew something, delete it and run this again.
# As root, each file is given to the user of its component; as anybody else, all stays yours.
set -eu
umask 077

dir=${1:?write where the secrets go: secrets.sh DIR}
days=825 # of a certificate; the authority is good for ten years

ELASTICSEARCH=1000:0
GRAFANA=472:472
TOCSIN=10001:10001
MAILPIT=10002:10002

say() { echo "secrets: $1"; }

# keep FILE OWNER MODE: a file is complete; give it its owner and its name.
keep() {
  [ -s "$dir/$1.new" ] || { say "$1 could not be made"; exit 1; }
  chmod "$3" "$dir/$1.new"
  if [ "$(id -u)" = 0 ]; then chown "$2" "$dir/$1.new"; fi
  mv "$dir/$1.new" "$dir/$1"
  say "made $1"
}

# random FILE OWNER: 32 random bytes as 64 hexadecimal digits, without a line end.
random() {
  if [ -e "$dir/$1" ]; then return; fi
  openssl rand -hex 32 | tr -d '\n' > "$dir/$1.new"
  keep "$1" "$2" 0400
}

# copied FROM TO OWNER
copied() {
  if [ -e "$dir/$2" ]; then return; fi
  cat "$dir/$1" > "$dir/$2.new"
  keep "$2" "$3" 0400
}

authority() {
  if [ -e "$dir/ca/ca.crt" ]; then return; fi # its key may be kept elsewhere while there is nothing to sign
  if [ -e "$dir/authority/ca.key" ]; then
    say "authority/ca.key is there and ca/ca.crt is not: bring it back; or delete the key and every tls.crt for a new one"
    exit 1
  fi
  openssl ecparam -name prime256v1 -genkey -noout -out "$dir/authority/ca.key.new"
  openssl req -x509 -new -sha256 -days 3650 -key "$dir/authority/ca.key.new" -subj "/CN=Tocsin's own authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -out "$dir/ca/ca.crt.new"
  keep authority/ca.key 0:0 0400
  keep ca/ca.crt 0:0 0444
}

# certificate NAME OWNER: a key and a certificate for a service of that name.
certificate() {
  if [ -e "$dir/$1/tls.crt" ]; then return; fi
  if [ ! -e "$dir/authority/ca.key" ]; then
    say "$1/tls.crt cannot be signed: bring authority/ca.key back, as it was when ca/ca.crt was made"
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
  # The setup job writes API keys into these two; Grafana reads its own as a member of the group.
  chmod 2750 "$dir/grafana" && chown 10001:472 "$dir/grafana"
  chown "$TOCSIN" "$dir/worker" "$dir/setup"
  chown "$ELASTICSEARCH" "$dir/elasticsearch"
  chown "$MAILPIT" "$dir/mailpit"
  if [ -d "$dir/snapshots" ]; then chown "$ELASTICSEARCH" "$dir/snapshots"; fi
fi
say "all there"
