//! What the attribute needs of a runtime, and nothing else: so that these tests compile in a moment.
#![allow(dead_code)]

use std::marker::PhantomData;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub struct Error;

pub struct Tensor<T>(PhantomData<T>);
pub struct TensorRef<'a, T>(PhantomData<&'a T>);
pub struct TensorMut<'a, T>(PhantomData<&'a mut T>);
pub struct Device;
pub struct Stream;

#[derive(Clone, Debug)]
pub struct Prepared;

#[allow(non_camel_case_types)]
pub struct bf16;
#[allow(non_camel_case_types)]
pub struct f16;

pub struct KernelSource {
    pub name: &'static str,
}

impl KernelSource {
    pub fn prepare(&'static self, _: &Device) -> Result<Prepared> {
        Ok(Prepared)
    }
}

impl Prepared {
    pub fn launch(&self, _: &Stream, _: &mut [ArgValue<'_>]) -> Result<()> {
        Ok(())
    }
}

pub struct Cache;

impl Cache {
    pub const fn new() -> Cache {
        Cache
    }

    pub fn launch(&'static self, _: &'static KernelSource, _: &mut [ArgValue<'_>]) -> Result<()> {
        Ok(())
    }
}

pub struct ArgValue<'a>(PhantomData<&'a ()>);

macro_rules! from {
    ($($ty:ty),*) => {$(
        impl<'a, T> From<$ty> for ArgValue<'a> {
            fn from(_: $ty) -> Self {
                ArgValue(PhantomData)
            }
        }
    )*};
}

from!(&'a Tensor<T>, &'a mut Tensor<T>, TensorRef<'a, T>, TensorMut<'a, T>);

impl From<f32> for ArgValue<'_> {
    fn from(_: f32) -> Self {
        ArgValue(PhantomData)
    }
}
