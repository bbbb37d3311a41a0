//! Tests of the search: gates one by one, then whole searches.

mod evidence;
mod gates;
#[cfg(unix)]
mod gpu;
#[cfg(unix)]
mod isolation;
mod kernels;
mod learning;
mod logs;
mod row_strides;
mod searches;
mod tensor_maps;
#[cfg(unix)]
mod workers;
