"""Playbooks: how to work an incident, one YAML file each; the file's name is the playbook's id."""
