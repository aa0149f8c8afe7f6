"""Playbooks: the steps for handling an incident, one YAML file each. The file name is the playbook's id."""
