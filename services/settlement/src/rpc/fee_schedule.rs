//! Fee schedules over gRPC.

use tael_grpc::fields::Fields;
use tael_idempotency::{Call, Idempotency};
use tael_ids::MerchantId;
use tael_proto::settlement::v1::fee_schedule_service_server::FeeScheduleService;
use tael_proto::settlement::v1::{
    GetFeeSchedulesRequest, GetFeeSchedulesResponse, SetFeeScheduleRequest, SetFeeScheduleResponse,
};
use tonic::{Request, Response, Status};

use super::convert::to_fee_schedule;
use super::parse;
use crate::usecase::Settlement;

pub(crate) struct FeeScheduleRpc {
    pub(crate) settlement: Settlement,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl FeeScheduleService for FeeScheduleRpc {
    async fn set_fee_schedule(
        &self,
        request: Request<SetFeeScheduleRequest>,
    ) -> Result<Response<SetFeeScheduleResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let schedule = parse::fee_schedule(&mut fields, request.fee_schedule.as_ref());
        let (merchant_id, schedule) = fields.finish(|| Some((merchant_id?, schedule?)))?;
        let call = Call::new(&merchant_id, "SetFeeSchedule", &metadata, &request)?;
        let settlement = self.settlement.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let schedule = settlement.set_fee_schedule(merchant_id, schedule, guard).await?;
                Ok(SetFeeScheduleResponse { fee_schedule: Some(to_fee_schedule(&schedule)) })
            })
            .await
    }

    async fn get_fee_schedules(
        &self,
        request: Request<GetFeeSchedulesRequest>,
    ) -> Result<Response<GetFeeSchedulesResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.get_ref().merchant_id);
        let merchant_id = fields.finish(|| merchant_id)?;
        let schedules = self.settlement.fee_schedules(merchant_id).await?;
        let fee_schedules = schedules.iter().map(to_fee_schedule).collect();
        Ok(Response::new(GetFeeSchedulesResponse { fee_schedules }))
    }
}
