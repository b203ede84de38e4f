"""exactly_once.py BOOTSTRAP TRANSACTIONAL_ID IN OUT: consumes IN as a member of the group "IN-group", writes each record to OUT, and
commits its offsets, all in one transaction a batch (librdkafka). Every tenth transaction is aborted once it is written, on purpose.

A record of OUT has the key of what it was made of and the value "PARTITION OFFSET" of its place in IN; it goes to the partition after.
Prints "committed RECORDS", "aborted RECORDS", "refused WHY" after each transaction, and "idle" when nothing has come for half a second.
SIGTERM: ends after the transaction at hand; SIGUSR1: says where it is. Ends with status 3 when it is fenced or must not go on, or hangs:
librdkafka waits without end for a group's coordinator that has gone from the metadata while it was being asked."""

import faulthandler
import os
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

PARTITIONS = 3
BATCH = 100
PATIENCE_SECONDS = 6


def say(*words):
    print(*words, flush=True)


def patiently(call, *arguments):
    """What librdkafka calls retriable is to be tried again, for as long as it takes."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as refusal:
            if not refusal.args[0].retriable():
                raise
            say("retried", refusal.args[0].name())
            time.sleep(0.1)


def give_up():
    say("refused hangs")
    os._exit(3)


def rewind(consumer, batch):
    """The records of an aborted transaction are to be read again."""
    first = {}
    for message in batch:
        first.setdefault(message.partition(), message.offset())
    assigned = {p.partition for p in consumer.assignment()}
    for partition, offset in first.items():
        if partition in assigned:
            consumer.seek(TopicPartition(batch[0].topic(), partition, offset))


def transact(consumer, producer, batch, target, aborts):
    producer.begin_transaction()
    ends = {}
    for message in batch:
        place = f"{message.partition()} {message.offset()}"
        producer.produce(target, key=message.key(), value=place, partition=(message.partition() + 1) % PARTITIONS)
        ends[message.partition()] = message.offset() + 1
    offsets = [TopicPartition(batch[0].topic(), partition, offset) for partition, offset in ends.items()]
    patiently(producer.send_offsets_to_transaction, offsets, consumer.consumer_group_metadata(), 10)
    if aborts:
        producer.flush(10)
        patiently(producer.abort_transaction, 20)
        rewind(consumer, batch)
        say("aborted", len(batch))
    else:
        patiently(producer.commit_transaction, 20)
        say("committed", len(batch))


def main(bootstrap, transactional_id, source, target):
    stopping = []
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    common = {
        "bootstrap.servers": bootstrap, "socket.timeout.ms": 3000, "reconnect.backoff.max.ms": 500, "log_level": 0,
        "topic.metadata.refresh.interval.ms": 2000,
    }
    producer = Producer(common | {
        "transactional.id": transactional_id, "transaction.timeout.ms": 10000, "linger.ms": 2,
        "retry.backoff.ms": 50, "retry.backoff.max.ms": 200,
    })
    patiently(producer.init_transactions, 30)
    consumer = Consumer(common | {
        "group.id": f"{source}-group", "enable.auto.commit": False, "isolation.level": "read_committed",
        "auto.offset.reset": "earliest", "session.timeout.ms": 1500, "heartbeat.interval.ms": 300,
        "max.poll.interval.ms": 60000,
    })
    consumer.subscribe([source])
    say("ready")
    transactions, last = 0, time.monotonic()
    while not stopping:
        batch = [message for message in consumer.consume(BATCH, 0.1) if not message.error()]
        if not batch:
            if time.monotonic() - last > 0.5:
                say("idle")
                last = time.monotonic()
            continue
        last = time.monotonic()
        transactions += 1
        watchdog = threading.Timer(PATIENCE_SECONDS, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            transact(consumer, producer, batch, target, transactions % 10 == 0)
        except KafkaException as refusal:
            error = refusal.args[0]
            say("refused", error.name(), error.str())
            if not error.txn_requires_abort():
                sys.exit(3)
            patiently(producer.abort_transaction, 20)
            rewind(consumer, batch)
        finally:
            watchdog.cancel()
    consumer.close()


try:
    main(*sys.argv[1:5])
except KafkaException as refusal:
    say("refused", refusal.args[0].name(), refusal.args[0].str())
    sys.exit(3)
