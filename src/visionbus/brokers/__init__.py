"""Real brokers on this machine, for development and tests: `visionbus.brokers.kafka` has a cluster of Apache Kafka."""
