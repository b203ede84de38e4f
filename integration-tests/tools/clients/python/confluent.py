"""confluent.py BOOTSTRAP TOPIC COUNT [KEY=VALUE…]: confluent-kafka (librdkafka) creates TOPIC, produces COUNT records
idempotently with zstd, consumes them in a cooperative group, commits, and prints "consumed COUNT committed COUNT".
KEY=VALUE are librdkafka's own properties, for how to log in."""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


def main(bootstrap, topic, count, login):
    common = {"bootstrap.servers": bootstrap, **login}
    admin = AdminClient(common)
    for future in admin.create_topics([NewTopic(topic, 3, 1)]).values():
        future.result(20)

    refused = []
    producer = Producer({**common, "enable.idempotence": True, "compression.type": "zstd"})
    for i in range(count):
        producer.produce(topic, key=f"k{i}", value=f"v{i}", on_delivery=lambda e, m: e and refused.append(e))
        producer.poll(0)
    left = producer.flush(20)
    if left or refused:
        sys.exit(f"confluent.py: {left} records not delivered, refused: {refused[:3]}")

    consumer = Consumer({
        **common, "group.id": f"{topic}-confluent", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky", "check.crcs": True,
    })
    consumer.subscribe([topic])
    seen, deadline = {}, time.monotonic() + 30
    while len(seen) < count:
        if time.monotonic() > deadline:
            sys.exit(f"confluent.py: {len(seen)} of {count} records after 30 s")
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        seen[message.key().decode()] = message.value().decode()
    wrong = [i for i in range(count) if seen.get(f"k{i}") != f"v{i}"]
    if wrong:
        sys.exit(f"confluent.py: missing or wrong: {wrong[:10]}")
    consumer.commit(asynchronous=False)
    committed = sum(max(0, p.offset) for p in consumer.committed([TopicPartition(topic, p) for p in range(3)], 10))
    consumer.close()
    print(f"consumed {len(seen)} committed {committed}")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), dict(word.split("=", 1) for word in sys.argv[4:]))
