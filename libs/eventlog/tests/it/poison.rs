use prost::Message as _;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tael_eventlog::{ApplyError, ConsumeError, Consumer, Handler, Received};
use tael_ids::EventId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Cursor, Event};
use uuid::Uuid;

use crate::consume::{Noting, consumer, noted, target};
use crate::source::{Source, names};

/// Returns the dead letters, with their errors.
async fn aside(pool: &PgPool) -> Vec<(Event, String)> {
    let rows: Vec<(String, Uuid, Vec<u8>, String)> =
        sqlx::query_as("select source, event_id, event, error from event_set_aside order by event_id")
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter()
        .map(|(source, id, event, error)| {
            assert_eq!(source, "source");
            let event = Event::decode(event.as_slice()).unwrap();
            assert_eq!(event.event_id, EventId::from_uuid(id).to_string());
            (event, error)
        })
        .collect()
}

#[tokio::test]
async fn an_event_that_can_t_be_applied_becomes_a_dead_letter_and_the_rest_goes_on() {
    let (source, target) = (Source::start().await, target().await);
    source.commit(&["a", "bad", "b", "bad", "c"]).await;
    let mut consumer = consumer(&source, &target, Noting::default());
    assert_eq!(consumer.run_once().await.unwrap(), 5);
    assert_eq!(noted(&target.pool).await, ["a", "b", "c"]);
    let aside = aside(&target.pool).await;
    assert_eq!(aside.len(), 2);
    let written = source.read(None, 0, 0).await.unwrap();
    for (event, error) in &aside {
        assert!(written.contains(event), "it can be replayed as it was");
        assert_eq!(event.aggregate_id, "bad");
        assert!(error.contains("noted_name_check"), "{error}");
    }

    assert_eq!(consumer.run_once().await.unwrap(), 0, "it is not tried again by itself");
    source.commit(&["d"]).await;
    consumer.run_once().await.unwrap();
    assert_eq!(noted(&target.pool).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_event_set_aside_twice_is_kept_once() {
    let (source, target) = (Source::start().await, target().await);
    source.commit(&["bad"]).await;
    let mut consumer = consumer(&source, &target, Noting::default());
    consumer.run_once().await.unwrap();
    sqlx::query("update event_cursor set tx = 0, seq = 0").execute(&target.pool).await.unwrap();
    consumer.run_once().await.unwrap();
    let aside = aside(&target.pool).await;
    assert_eq!(aside.len(), 1);
    assert_eq!(names(&[aside[0].0.clone()]), ["bad"]);
}

#[tokio::test]
async fn a_right_that_is_missing_is_no_fault_of_the_events() {
    let (source, target) = (Source::start().await, target().await);
    let role = target.database.role().await;
    tael_postgres::grant(&target.pool, role.name(), &[tael_eventlog::SCHEMA]).await.unwrap();
    source.commit(&["a", "b"]).await;
    let mut consumer =
        Consumer::new("target", "source", source.channel.clone(), role.pool(), Noting::default());
    let failed = consumer.run_once().await.unwrap_err();
    assert!(matches!(failed, ConsumeError::Apply(ApplyError::Transient(_))), "{failed:?}");

    let late = format!("grant insert on noted to {}", role.name());
    sqlx::query(AssertSqlSafe(late)).execute(&target.pool).await.unwrap();
    assert_eq!(consumer.run_once().await.unwrap(), 2);
    assert_eq!(noted(&target.pool).await, ["a", "b"]);
    assert_eq!(aside(&target.pool).await, []);
}

/// Notes an event before what it refers to exists, which the database checks at commit only; of an orphan nothing
/// ever exists.
struct ReferringFirst;

impl Handler for ReferringFirst {
    fn handles(&self, _: &Kind) -> bool {
        true
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        for received in events {
            let name = &received.event.aggregate_id;
            sqlx::query("insert into child (name) values ($1)").bind(name).execute(&mut *tx).await?;
            if name != "orphan" {
                sqlx::query("insert into parent (name) values ($1)").bind(name).execute(&mut *tx).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_the_database_refuses_at_commit_becomes_a_dead_letter_as_well() {
    let (source, target) = (Source::start().await, target().await);
    for statement in [
        "create table parent (name text primary key)",
        "create table child (name text references parent deferrable initially deferred)",
    ] {
        sqlx::query(statement).execute(&target.pool).await.unwrap();
    }
    source.commit(&["a", "orphan", "b"]).await;
    let mut consumer = consumer(&source, &target, ReferringFirst);
    assert_eq!(consumer.run_once().await.unwrap(), 3);
    let children: Vec<String> =
        sqlx::query_scalar("select name from child order by name").fetch_all(&target.pool).await.unwrap();
    assert_eq!(children, ["a", "b"]);
    let [(orphan, error)] = aside(&target.pool).await.try_into().unwrap();
    assert_eq!(orphan.aggregate_id, "orphan");
    assert!(error.contains("child_name_fkey"), "{error}");
    assert_ne!(cursor(&target.pool).await, Cursor::default());
}

async fn cursor(pool: &PgPool) -> Cursor {
    let (tx, seq): (i64, i64) = sqlx::query_as("select tx, seq from event_cursor where source = 'source'")
        .fetch_one(pool)
        .await
        .unwrap();
    Cursor { transaction: tx.cast_unsigned(), sequence: seq.cast_unsigned() }
}
