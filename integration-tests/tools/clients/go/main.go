// franz is a small client on franz-go, for the integration tests.
//
//	franz BOOTSTRAP TOPIC COUNT [KEY=VALUE…]
//
// creates TOPIC with three partitions, produces COUNT records (key kN, value vN; idempotent, lz4), consumes them
// in a group, commits, leaves, and prints "consumed COUNT committed COUNT". Anything else is an exit status of 1.
// KEY=VALUE says how to log in, in librdkafka's words: security.protocol, sasl.mechanism, ssl.ca.location and the like.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: franz BOOTSTRAP TOPIC COUNT [KEY=VALUE…]")
		os.Exit(64)
	}
	login, err := loginOptions(os.Args[4:])
	if err == nil {
		err = run(os.Args[1], os.Args[2], os.Args[3], login)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
		os.Exit(1)
	}
}

func run(bootstrap, topic, countText string, login []kgo.Opt) error {
	count, err := strconv.Atoi(countText)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()

	producer, err := kgo.NewClient(append(login, kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(kgo.Lz4Compression()))...)
	if err != nil {
		return err
	}
	defer producer.Close()
	admin := kadm.NewClient(producer)
	created, err := admin.CreateTopic(ctx, 3, 1, nil, topic)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if created.Err != nil {
		return fmt.Errorf("create: %w", created.Err)
	}
	for i := 0; i < count; i++ {
		record := &kgo.Record{Topic: topic, Key: []byte(fmt.Sprintf("k%d", i)), Value: []byte(fmt.Sprintf("v%d", i))}
		producer.Produce(ctx, record, func(_ *kgo.Record, e error) {
			if e != nil && err == nil {
				err = e
			}
		})
	}
	if e := producer.Flush(ctx); e != nil {
		return fmt.Errorf("flush: %w", e)
	}
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}

	group := topic + "-franz"
	consumer, err := kgo.NewClient(append(login,
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
	)...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	seen := map[string]string{}
	for len(seen) < count {
		fetches := consumer.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("consume (after %d): %v", len(seen), errs)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Key)] = string(r.Value) })
	}
	for i := 0; i < count; i++ {
		if seen[fmt.Sprintf("k%d", i)] != fmt.Sprintf("v%d", i) {
			return fmt.Errorf("record %d is missing or wrong", i)
		}
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("fetch offsets: %w", err)
	}
	committed := int64(0)
	offsets.Each(func(o kadm.OffsetResponse) { committed += o.At })
	fmt.Printf("consumed %d committed %d\n", len(seen), committed)
	return nil
}
