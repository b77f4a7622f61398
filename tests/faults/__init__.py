"""What breaks around the gateway, and what is right then: the fault table, each line on real servers that are stopped and started."""
