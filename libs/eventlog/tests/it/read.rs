use jiff::Timestamp;
use tael_eventlog::NewEvent;
use tael_grpc::status::bad_fields;
use tael_ids::EventId;
use tael_proto::event::v1::Cursor;
use tonic::Code;

use crate::source::{Source, event, names};

#[tokio::test]
async fn an_event_is_read_as_it_was_appended() {
    let source = Source::start().await;
    let new = NewEvent {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        occur_time: Timestamp::from_microsecond(-1_500_000).unwrap(),
        ..event("first")
    };
    let mut tx = source.database.pool.begin().await.unwrap();
    source.log.append(&mut tx, std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(source.read(None, 0, 0).await.unwrap(), [], "not before the commit");
    tx.commit().await.unwrap();

    let [read] = source.read(None, 0, 20_000).await.unwrap().try_into().unwrap();
    assert!(read.event_id.parse::<EventId>().is_ok());
    assert_eq!(read.merchant_id, new.merchant_id.to_string());
    assert_eq!(read.aggregate_id, "first");
    assert_eq!(read.payload.unwrap().kind.unwrap(), new.kind);
    assert_eq!(Some(read.traceparent), new.traceparent);
    assert_eq!(read.occur_time.unwrap(), tael_grpc::convert::timestamp(new.occur_time));
    assert_eq!(source.read(read.cursor, 0, 0).await.unwrap(), [], "nothing comes after it");
}

#[tokio::test]
async fn pages_continue_after_their_last_event() {
    let source = Source::start().await;
    source.commit(&["a", "b", "c", "d", "e"]).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = source.read(after, 2, 0).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.cursor;
        seen.extend(names(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn nothing_is_appended_by_nothing_or_by_a_rollback() {
    let source = Source::start().await;
    source.commit(&[] as &[&str]).await;
    let mut tx = source.database.pool.begin().await.unwrap();
    source.append_in(&mut tx, "never").await;
    tx.rollback().await.unwrap();
    source.commit(&["real"]).await;
    assert_eq!(names(&source.read(None, 0, 0).await.unwrap()), ["real"]);
}

#[tokio::test]
async fn limit_and_wait_have_bounds() {
    let source = Source::start().await;
    let many: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    source.commit(&many).await;
    assert_eq!(source.read(None, 0, 0).await.unwrap().len(), 500, "the default");
    assert_eq!(source.read(None, 1, 0).await.unwrap().len(), 1);
    assert_eq!(source.read(None, 1000, 30_000).await.unwrap().len(), 1000, "no wait when there is something");

    for (limit, wait_ms, bad) in [
        (1001, 0, &["limit"][..]),
        (u32::MAX, 0, &["limit"]),
        (1, 30_001, &["wait_ms"]),
        (1001, u32::MAX, &["limit", "wait_ms"]),
    ] {
        let refused = source.read(None, limit, wait_ms).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(bad_fields(&refused), bad);
    }
}

#[tokio::test]
async fn any_cursor_is_answered() {
    let source = Source::start().await;
    source.commit(&["only"]).await;
    let last = |transaction, sequence| Some(Cursor { transaction, sequence });
    assert_eq!(source.read(last(i64::MAX as u64, i64::MAX as u64), 0, 0).await.unwrap(), []);
    assert_eq!(names(&source.read(last(0, 0), 0, 0).await.unwrap()), ["only"]);
    // What no reader was ever given is a place before or after everything, never an internal error.
    for strange in [last(u64::MAX, 0), last(0, u64::MAX), last(u64::MAX, u64::MAX)] {
        source.read(strange, 0, 0).await.unwrap();
    }
}
