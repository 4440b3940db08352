"""The drivers, one a module; none knows another."""
