//! The hostile corpus, and mutations of our own harness which it has to notice.

mod comparator;
mod corpus;
mod gates;
mod mutations;
