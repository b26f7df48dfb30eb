//! Tests of single rules, on a machine whose nodes say what the test tells them to say.

mod acquire;
mod fence;
mod guard;
mod parked;
mod regression;
mod scripted;
