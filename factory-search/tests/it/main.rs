//! Tests of the search: gates one by one, then whole searches.

mod gates;
mod kernels;
mod searches;
