"""How long it takes from the decisive event of an attack to the notification, by the wall clock."""
