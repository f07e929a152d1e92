use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::PgPool;
use tael_eventlog::DeadLetters;
use tael_grpc::client::{Channel, connect};
use tael_grpc::server::{Limits, Readiness, bind};
use tael_grpc::status::bad_fields;
use tael_ids::EventId;
use tael_proto::event::v1::dead_letter_service_client::DeadLetterServiceClient;
use tael_proto::event::v1::{
    DeadLetter, ListDeadLettersRequest, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::consume::{Noting, consumer, noted, target};
use crate::source::{Database, Source};

/// A service that consumes, and what it could not apply.
struct Consuming {
    source: Source,
    target: Database,
    handler: Noting,
    client: DeadLetterServiceClient<Channel>,
    stop: CancellationToken,
}

impl Consuming {
    /// Consumes events, of which those named "bad" can't be applied.
    async fn start(names: &[&str]) -> Self {
        let (source, target) = (Source::start().await, target().await);
        source.commit(names).await;
        let handler = Noting::default();
        let mut consumer = consumer(&source, &target, handler.clone());
        while consumer.run_once().await.unwrap() > 0 {}
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
        let channel = connect(&format!("http://{}", bound.addr())).unwrap();
        let stop = CancellationToken::new();
        let routes = Routes::new(DeadLetters::new(target.pool.clone()).with(&consumer).server());
        tokio::spawn(bound.serve(routes, Readiness::default(), stop.clone().cancelled_owned()));
        Self { source, target, handler, client: DeadLetterServiceClient::new(channel), stop }
    }

    async fn list(&self) -> Vec<DeadLetter> {
        let all = ListDeadLettersRequest::default();
        self.client.clone().list_dead_letters(all).await.unwrap().into_inner().dead_letters
    }

    async fn replay(&self, event_ids: &[String]) -> Result<ReplayDeadLettersResponse, Status> {
        let request = ReplayDeadLettersRequest { event_ids: event_ids.to_vec() };
        Ok(self.client.clone().replay_dead_letters(request).await?.into_inner())
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Makes what was refused acceptable, as a new build would.
async fn mend(pool: &PgPool) {
    sqlx::query("alter table noted drop constraint noted_name_check").execute(pool).await.unwrap();
}

fn ids(events: &[DeadLetter]) -> Vec<String> {
    events.iter().map(|letter| letter.event.as_ref().unwrap().event_id.clone()).collect()
}

#[tokio::test]
async fn events_set_aside_are_listed_oldest_first_and_by_pages() {
    let service = Consuming::start(&["bad", "a", "bad", "bad"]).await;
    let written = service.source.read(None, 0, 0).await.unwrap();
    let listed = service.list().await;
    assert_eq!(ids(&listed), [0, 2, 3].map(|n: usize| written[n].event_id.clone()));
    for letter in &listed {
        assert_eq!(letter.source, "source");
        assert!(written.contains(letter.event.as_ref().unwrap()), "it is shown as it was written");
        assert!(letter.error.contains("noted_name_check"), "{}", letter.error);
        assert!(letter.dead_letter_time.is_some());
    }

    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let request = ListDeadLettersRequest { page_size: 2, page_token: token };
        let page = service.client.clone().list_dead_letters(request).await.unwrap().into_inner();
        assert!(page.dead_letters.len() <= 2);
        seen.extend(page.dead_letters);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, listed);
    for (page_size, page_token, bad) in [(101, "", "page_size"), (1, "elsewhere", "page_token")] {
        let request = ListDeadLettersRequest { page_size, page_token: page_token.to_owned() };
        let refused = service.client.clone().list_dead_letters(request).await.unwrap_err();
        assert_eq!(bad_fields(&refused), [bad]);
    }
}

#[tokio::test]
async fn what_was_mended_is_applied_and_leaves_the_list() {
    let service = Consuming::start(&["bad", "a", "bad"]).await;
    let listed = ids(&service.list().await);
    mend(&service.target.pool).await;
    let commits = service.handler.commits.load(Ordering::Relaxed);
    let first = service.replay(&listed[..1]).await.unwrap();
    assert_eq!((first.applied, first.failed_event_ids), (1, vec![]));
    assert_eq!(ids(&service.list().await), listed[1..]);
    assert_eq!(service.handler.commits.load(Ordering::Relaxed), commits + 1, "what waits is woken");

    let rest = service.replay(&[]).await.unwrap();
    assert_eq!((rest.applied, rest.failed_event_ids), (1, vec![]));
    assert_eq!(service.list().await, []);
    assert_eq!(noted(&service.target.pool).await, ["a", "bad", "bad"]);
    let again = service.replay(&listed).await.unwrap();
    assert_eq!((again.applied, again.failed_event_ids), (0, vec![]), "they are gone");
}

#[tokio::test]
async fn what_still_can_t_be_applied_stays_with_its_new_error() {
    let service = Consuming::start(&["bad", "bad"]).await;
    let before = service.list().await;
    sqlx::query("alter table noted rename constraint noted_name_check to another_check")
        .execute(&service.target.pool)
        .await
        .unwrap();
    let outcome = service.replay(&[]).await.unwrap();
    assert_eq!((outcome.applied, outcome.failed_event_ids), (0, ids(&before)));
    for (old, new) in before.iter().zip(service.list().await) {
        assert!(new.error.contains("another_check"), "{}", new.error);
        let time = |letter: &DeadLetter| letter.dead_letter_time.map(|t| (t.seconds, t.nanos));
        assert!(time(&new) > time(old), "when it was last tried");
    }
    assert_eq!(noted(&service.target.pool).await, [] as [&str; 0], "and leaves nothing behind");
}

#[tokio::test]
async fn what_fails_for_now_may_be_called_again() {
    let service = Consuming::start(&["bad", "bad"]).await;
    let before = service.list().await;
    mend(&service.target.pool).await;
    service.handler.failures.store(1, Ordering::Relaxed);
    assert_eq!(service.replay(&[]).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(service.list().await, before, "nothing is known of the events");
    assert_eq!(service.replay(&[]).await.unwrap().applied, 2);
    assert_eq!(noted(&service.target.pool).await, ["bad", "bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replays_at_once_apply_each_event_once() {
    let service = Consuming::start(&["bad"; 40]).await;
    mend(&service.target.pool).await;
    let applied = AtomicU32::new(0);
    futures::future::join_all((0..8).map(|_| async {
        let outcome = service.replay(&[]).await.unwrap();
        assert_eq!(outcome.failed_event_ids, [] as [&str; 0]);
        applied.fetch_add(outcome.applied, Ordering::Relaxed);
    }))
    .await;
    assert_eq!(applied.into_inner(), 40);
    assert_eq!(noted(&service.target.pool).await.len(), 40);
    assert_eq!(service.list().await, []);
}

#[tokio::test]
async fn an_event_of_a_source_that_is_consumed_no_more_stays() {
    let service = Consuming::start(&["bad"]).await;
    sqlx::query("update event_set_aside set source = 'former'").execute(&service.target.pool).await.unwrap();
    let outcome = service.replay(&[]).await.unwrap();
    assert_eq!(outcome.failed_event_ids.len(), 1);
    let [letter] = service.list().await.try_into().unwrap();
    assert_eq!(
        (letter.source.as_str(), letter.error.as_str()),
        ("former", "nothing consumes this source here")
    );
}

#[tokio::test]
async fn ids_that_can_t_be_are_refused_and_unknown_ones_pass() {
    let service = Consuming::start(&["bad"]).await;
    let refused = service.replay(&["evt_nonsense".to_owned(), String::new()]).await.unwrap_err();
    assert_eq!(bad_fields(&refused), ["event_ids[0]", "event_ids[1]"]);
    let many: Vec<String> = (0..101).map(|_| EventId::new().to_string()).collect();
    assert_eq!(bad_fields(&service.replay(&many).await.unwrap_err()), ["event_ids"]);
    let unknown = service.replay(&many[..100]).await.unwrap();
    assert_eq!((unknown.applied, unknown.failed_event_ids), (0, vec![]));
    assert_eq!(service.list().await.len(), 1);
}
