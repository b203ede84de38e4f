"""pure.py BOOTSTRAP TOPIC COUNT: kafka-python creates TOPIC, produces COUNT records with gzip, consumes them in a group,
commits, asks for offsets by time, and prints "consumed COUNT committed COUNT"."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic


def main(bootstrap, topic, count):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 3, 1)])

    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="gzip")
    sent = [producer.send(topic, key=b"k%d" % i, value=b"v%d" % i, headers=[("n", b"%d" % i)]) for i in range(count)]
    for future in sent:
        future.get(20)
    producer.close()

    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=f"{topic}-pure", auto_offset_reset="earliest",
                             enable_auto_commit=False)
    seen, deadline = {}, time.monotonic() + 30
    while len(seen) < count:
        if time.monotonic() > deadline:
            sys.exit(f"pure.py: {len(seen)} of {count} records after 30 s")
        for batch in consumer.poll(500).values():
            seen.update((m.key, m.value) for m in batch)
    wrong = [i for i in range(count) if seen.get(b"k%d" % i) != b"v%d" % i]
    if wrong:
        sys.exit(f"pure.py: missing or wrong: {wrong[:10]}")
    consumer.commit()
    partitions = [TopicPartition(topic, p) for p in range(3)]
    committed = sum(consumer.committed(p) or 0 for p in partitions)
    by_time = consumer.offsets_for_times({p: 0 for p in partitions})
    if any(found is not None and found.offset != 0 for found in by_time.values()):
        sys.exit(f"pure.py: the first record since the epoch is not at offset 0: {by_time}")
    consumer.close()
    print(f"consumed {len(seen)} committed {committed}")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
