"""The pictures of the demo, one per module. They use facts about the attacks that no detector has."""
