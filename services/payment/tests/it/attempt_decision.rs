//! An attempt whose channel gives no evidence is ended by two people.

use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{AttemptDecisionId, AttemptId, MerchantId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::payment::v1::attempt_decision_service_client::AttemptDecisionServiceClient;
use tael_proto::payment::v1::create_channel_account_request::Account;
use tael_proto::payment::v1::{
    ApproveAttemptDecisionRequest, AttemptDecision, AttemptDecisionState, DisableChannelAccountRequest,
    ListAttemptDecisionsRequest, Payment, PaymentState, RejectAttemptDecisionRequest,
    RequestAttemptDecisionRequest,
};
use tael_testkit::eventually;
use tonic::{Code, Status};

use crate::fixture::{Fixture, TestKey, account_request, configure_account, kind};

fn request(payment: &Payment) -> RequestAttemptDecisionRequest {
    RequestAttemptDecisionRequest {
        merchant_id: payment.merchant_id.clone(),
        payment_id: payment.payment_id.clone(),
        attempt_id: payment.attempts[0].attempt_id.clone(),
        reason: "the account's key is wrong, and its console shows no such order".to_owned(),
        operator: "Li Lei".to_owned(),
    }
}

struct Decisions(AttemptDecisionServiceClient<tael_grpc::client::Channel>);

impl Decisions {
    fn of(fixture: &Fixture) -> Self {
        Self(AttemptDecisionServiceClient::new(fixture.running.channel()))
    }

    async fn request(&self, request: RequestAttemptDecisionRequest) -> Result<AttemptDecision, Status> {
        let answer = self.0.clone().request_attempt_decision(request).await?;
        Ok(answer.into_inner().attempt_decision.unwrap())
    }

    async fn approve(&self, decision: &AttemptDecision, operator: &str) -> Result<AttemptDecision, Status> {
        let request = ApproveAttemptDecisionRequest {
            merchant_id: decision.merchant_id.clone(),
            attempt_decision_id: decision.attempt_decision_id.clone(),
            operator: operator.to_owned(),
        };
        let answer = self.0.clone().approve_attempt_decision(request).await?;
        Ok(answer.into_inner().attempt_decision.unwrap())
    }

    async fn reject(&self, decision: &AttemptDecision, operator: &str) -> Result<AttemptDecision, Status> {
        let request = RejectAttemptDecisionRequest {
            merchant_id: decision.merchant_id.clone(),
            attempt_decision_id: decision.attempt_decision_id.clone(),
            operator: operator.to_owned(),
        };
        let answer = self.0.clone().reject_attempt_decision(request).await?;
        Ok(answer.into_inner().attempt_decision.unwrap())
    }
}

/// The account was active when its key or its id became wrong, as one of the build before is that never worked.
async fn spoil(fixture: &Fixture, what: &str, with: &str) -> String {
    let pool = fixture.database.pool();
    sqlx::query("update channel_account set identity = jsonb_set(identity, array[$1], to_jsonb($2))")
        .bind(what)
        .bind(with)
        .execute(&pool)
        .await
        .unwrap();
    with.to_owned()
}

/// A channel account that can never be called leaves its payments in doubt. What the channel says without a signature is
/// shown and not believed; two people end it, and a right account takes the order's money.
#[tokio::test]
async fn an_account_that_never_works_blocks_no_order_for_ever() {
    for (field, value, problem) in [
        ("app_id", "2021000000000999", "an unsigned answer says isv.invalid-app-id"),
        ("gateway_url", "http://127.0.0.1:1/gateway.do", "the channel can't be reached"),
    ] {
        let fixture = Fixture::start().await;
        spoil(&fixture, field, value).await;
        // One that has not opened the account before. Callbacks go to the other one, so we ask.
        let running = fixture.replica().await;
        let fixture = fixture.at(running);
        let decisions = Decisions::of(&fixture);
        let order = fixture.order();
        let payment = fixture.try_create(&order).await.unwrap();
        let attempt = &payment.attempts[0];
        assert_eq!((payment.state(), attempt.in_doubt), (PaymentState::Created, true), "{field}");
        assert!(attempt.failure.is_none(), "it is not believed");
        assert_eq!(attempt.problem, problem);
        assert_eq!(fixture.close(&payment).await.state(), PaymentState::Created, "and closes nothing");

        let requested = decisions.request(request(&payment)).await.unwrap();
        assert_eq!(requested.state(), AttemptDecisionState::Requested);
        assert_eq!(
            decisions.request(request(&payment)).await.unwrap(),
            requested,
            "asked again it is the same"
        );
        let status = decisions.approve(&requested, "li lei").await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("SECOND_PERSON_NEEDED"));
        assert_eq!(fixture.get(&payment).await.state(), PaymentState::Created);
        let approved = decisions.approve(&requested, "Han Meimei").await.unwrap();
        assert_eq!(
            (approved.state(), approved.requested_by.as_str(), approved.decided_by.as_str()),
            (AttemptDecisionState::Approved, "Li Lei", "Han Meimei")
        );
        assert_eq!(fixture.get(&payment).await.state(), PaymentState::Closed);
        let events = fixture.events(2).await;
        let Kind::PaymentClosed(closed) = kind(&events[1]) else { panic!("{events:?}") };
        assert_eq!(closed.attempt_decision_id, requested.attempt_decision_id);
        let status = decisions.approve(&requested, "Han Meimei").await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("ATTEMPT_DECISION_MADE"));

        let disable = DisableChannelAccountRequest {
            merchant_id: fixture.merchant_id.to_string(),
            channel_account_id: fixture.account.channel_account_id.clone(),
        };
        fixture.channel_accounts.clone().disable_channel_account(disable).await.unwrap();
        let right = account_request(&fixture.merchant_id.to_string(), &fixture.app);
        crate::fixture::create_account(&fixture.channel_accounts, right).await.unwrap();
        let again = fixture.try_create(&order).await.unwrap();
        assert_eq!(again.state(), PaymentState::Pending);
        fixture.pay(&again).await;
        assert_eq!(fixture.sync(&again).await.state(), PaymentState::Succeeded);
    }
}

/// The doubt that two people ended was wrong: the payer had paid. The money is recorded, and nobody loses it.
#[tokio::test]
async fn money_that_comes_after_a_decision_is_recorded() {
    let fixture = Fixture::start().await;
    let decisions = Decisions::of(&fixture);
    let faults = tael_sandbox::control::Fault::TimeOutAfter { hang_ms: 0 };
    fixture.fault("alipay.trade.precreate", 1, faults).await;
    let payment = fixture.create().await;
    assert!(payment.attempts[0].in_doubt);
    let requested = decisions.request(request(&payment)).await.unwrap();
    decisions.approve(&requested, "Han Meimei").await.unwrap();
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Closed);
    fixture.pay(&payment).await;
    fixture.eventually(&payment, PaymentState::Succeeded).await;
    assert_eq!(fixture.said(3).await, ["payment.created", "payment.closed", "payment.succeeded"]);
}

#[tokio::test]
async fn only_what_is_in_doubt_is_decided_and_a_decision_is_listed_for_good() {
    let fixture = Fixture::start().await;
    let decisions = Decisions::of(&fixture);
    let clear = fixture.create().await;
    let status = decisions.request(request(&clear)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("ATTEMPT_NOT_IN_DOUBT"))
    );
    fixture.fault("alipay.trade.precreate", 1, tael_sandbox::control::Fault::DropRequest).await;
    let doubtful = fixture.create().await;
    for (changed, expected) in [
        (
            RequestAttemptDecisionRequest { attempt_id: AttemptId::new().to_string(), ..request(&doubtful) },
            "ATTEMPT_NOT_FOUND",
        ),
        (
            RequestAttemptDecisionRequest {
                merchant_id: MerchantId::new().to_string(),
                ..request(&doubtful)
            },
            "PAYMENT_NOT_FOUND",
        ),
    ] {
        let status = decisions.request(changed).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some(expected)));
    }
    let nameless = RequestAttemptDecisionRequest {
        reason: String::new(),
        operator: String::new(),
        ..request(&doubtful)
    };
    assert_eq!(bad_fields(&decisions.request(nameless).await.unwrap_err()), ["reason", "operator"]);

    let first = decisions.request(request(&doubtful)).await.unwrap();
    let other = RequestAttemptDecisionRequest { operator: "Jim".to_owned(), ..request(&doubtful) };
    let status = decisions.request(other).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("ATTEMPT_DECISION_MADE"));
    let rejected = decisions.reject(&first, "Han Meimei").await.unwrap();
    assert_eq!(rejected.state(), AttemptDecisionState::Rejected);
    assert_eq!(fixture.get(&doubtful).await.state(), PaymentState::Created);
    let second = decisions.request(request(&doubtful)).await.unwrap();
    // The channel answers after all: then there is nothing left to decide.
    fixture.advance(SignedDuration::from_secs(1));
    eventually("the doubt to end", async || {
        (!fixture.get(&doubtful).await.attempts[0].in_doubt).then_some(())
    })
    .await;
    let status = decisions.approve(&second, "Han Meimei").await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("ATTEMPT_NOT_IN_DOUBT"));
    assert_eq!(fixture.get(&doubtful).await.state(), PaymentState::Pending);

    let unknown =
        AttemptDecision { attempt_decision_id: AttemptDecisionId::new().to_string(), ..second.clone() };
    let status = decisions.approve(&unknown, "Han Meimei").await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("ATTEMPT_DECISION_NOT_FOUND"));
    let list = ListAttemptDecisionsRequest {
        merchant_id: fixture.merchant_id.to_string(),
        page_size: 0,
        page_token: String::new(),
    };
    let listed = decisions.0.clone().list_attempt_decisions(list).await.unwrap().into_inner();
    assert_eq!(listed.attempt_decisions, [second, rejected]);
}

/// An account that can't be called does not stand before one that can.
#[tokio::test]
async fn an_account_that_was_never_proved_takes_no_order_from_one_that_was() {
    let fixture = Fixture::start().await;
    let mut request = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    request.alipay_keys.as_mut().unwrap().app_private_key = TestKey::generate().private;
    let Some(Account::Alipay(_)) = &request.account else { panic!("no account") };
    configure_account(&fixture.channel_accounts, request).await.unwrap();
    let payment = fixture.create().await;
    assert_eq!(payment.attempts[0].channel_account_id, fixture.account.channel_account_id);
}
