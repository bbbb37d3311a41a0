//! Tensors of any rank as matrices: everything but the last dimension is rows.

use factory_runtime::{Element, Error, Result, TensorMut, TensorRef};

/// `[…, n]` as `[m, n]`.
pub(crate) fn matrix<T: Element>(tensor: TensorRef<'_, T>) -> Result<TensorRef<'_, T>> {
    match tensor.shape().len() {
        2 => Ok(tensor),
        _ => {
            let shape = flat(tensor.shape())?;
            tensor.reshape(&shape)
        }
    }
}

/// `[…, n]` as `[m, n]`, to be written.
pub(crate) fn matrix_mut<T: Element>(tensor: TensorMut<'_, T>) -> Result<TensorMut<'_, T>> {
    match tensor.shape().len() {
        2 => Ok(tensor),
        _ => {
            let shape = flat(tensor.shape())?;
            tensor.reshape(&shape)
        }
    }
}

/// `[…]` as `[m]`: one value for each row.
pub(crate) fn vector<T: Element>(tensor: TensorRef<'_, T>) -> Result<TensorRef<'_, T>> {
    match tensor.shape() {
        [_] => Ok(tensor),
        shape => {
            let rows = shape.iter().product();
            tensor.reshape(&[rows])
        }
    }
}

/// `[…]` as `[m]`, to be written.
pub(crate) fn vector_mut<T: Element>(tensor: TensorMut<'_, T>) -> Result<TensorMut<'_, T>> {
    match tensor.shape() {
        [_] => Ok(tensor),
        shape => {
            let rows = shape.iter().product();
            tensor.reshape(&[rows])
        }
    }
}

fn flat(shape: &[usize]) -> Result<[usize; 2]> {
    match shape {
        [outer @ .., n] => Ok([outer.iter().product(), *n]),
        [] => Err(Error::Extent { what: "a tensor without dimensions has no rows to normalise".to_owned() }),
    }
}
