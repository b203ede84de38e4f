use super::*;

#[test]
fn a_fetcher_without_partitions_waits() {
    struct NoLogs;
    impl LocalLogs for NoLogs {
        fn offsets(&self, _: &TopicPartition) -> Option<LogOffsets> {
            None
        }
        fn end_offset_for_epoch(&self, _: &TopicPartition, _: LeaderEpoch) -> Option<EpochEnd> {
            None
        }
    }
    let mut fetcher = Fetcher::new(FetcherConfig {
        truncate_on_fetch: true,
        sessions: true,
        topic_ids: true,
        fetch_backoff: Millis(1000),
    });
    assert_eq!(fetcher.next(Millis(0), &NoLogs), Next::Wait(None));
}
