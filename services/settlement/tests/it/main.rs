//! The settlement service from outside: gRPC in front, a real PostgreSQL and Redis behind, fake peers beside.

mod peers;
