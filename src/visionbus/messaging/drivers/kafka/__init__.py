"""`kafka://`: Apache Kafka, by way of librdkafka."""

from importlib.util import find_spec

from visionbus.messaging.errors import MissingExtraError

if find_spec("confluent_kafka") is None:
    raise MissingExtraError("kafka:// needs confluent-kafka: pip install 'visionbus[kafka]'")

from visionbus.messaging.drivers.kafka.driver import KafkaDriver

__all__ = ["KafkaDriver"]
