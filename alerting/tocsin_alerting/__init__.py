"""The alert path: findings become alerts, alerts reach people and open incidents with a playbook."""
