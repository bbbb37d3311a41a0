//! Arguments of a launch, with the element type erased.

use half::{bf16, f16};

use factory_spec::DType;

use crate::view::{Layout, MutPlace, RefPlace};
use crate::{Element, Tensor, TensorMut, TensorRef, f8e4m3, f8e5m2};

/// One argument of a launch. Made with `From`: of `&Tensor`, `&mut Tensor`, [`TensorRef`], [`TensorMut`] or a scalar.
pub struct ArgValue<'a>(pub(crate) Value<'a>);

pub(crate) enum Value<'a> {
    Ref {
        dtype: DType,
        place: RefPlace<'a>,
        layout: Layout,
    },
    Mut {
        dtype: DType,
        place: MutPlace<'a>,
        layout: Layout,
    },
    /// The bits of the value in the low bytes.
    Scalar {
        dtype: DType,
        bits: u64,
    },
}

impl<'a, T: Element> From<TensorRef<'a, T>> for ArgValue<'a> {
    fn from(tensor: TensorRef<'a, T>) -> Self {
        ArgValue(Value::Ref { dtype: T::DTYPE, place: tensor.place, layout: tensor.layout })
    }
}

impl<'a, T: Element> From<&TensorRef<'a, T>> for ArgValue<'a> {
    fn from(tensor: &TensorRef<'a, T>) -> Self {
        tensor.clone().into()
    }
}

impl<'a, T: Element> From<&'a Tensor<T>> for ArgValue<'a> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        tensor.view().into()
    }
}

impl<'a, T: Element> From<TensorMut<'a, T>> for ArgValue<'a> {
    fn from(tensor: TensorMut<'a, T>) -> Self {
        ArgValue(Value::Mut { dtype: T::DTYPE, place: tensor.place, layout: tensor.layout })
    }
}

impl<'a, T: Element> From<&'a mut TensorMut<'_, T>> for ArgValue<'a> {
    fn from(tensor: &'a mut TensorMut<'_, T>) -> Self {
        tensor.reborrow().into()
    }
}

impl<'a, T: Element> From<&'a mut Tensor<T>> for ArgValue<'a> {
    fn from(tensor: &'a mut Tensor<T>) -> Self {
        tensor.view_mut().into()
    }
}

macro_rules! scalars {
    ($($ty:ty, $value:ident => $bits:expr;)*) => {$(
        impl From<$ty> for ArgValue<'_> {
            fn from($value: $ty) -> Self {
                ArgValue(Value::Scalar { dtype: <$ty as Element>::DTYPE, bits: $bits })
            }
        }
    )*};
}

scalars! {
    f64, value => value.to_bits();
    f32, value => value.to_bits().into();
    f16, value => value.to_bits().into();
    bf16, value => value.to_bits().into();
    f8e4m3, value => value.to_bits().into();
    f8e5m2, value => value.to_bits().into();
    i8, value => value.cast_unsigned().into();
    u8, value => value.into();
    i32, value => value.cast_unsigned().into();
    u32, value => value.into();
    i64, value => value.cast_unsigned();
}

impl Value<'_> {
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Value::Ref { dtype, .. } | Value::Mut { dtype, .. } | Value::Scalar { dtype, .. } => *dtype,
        }
    }

    pub(crate) fn layout(&self) -> Option<&Layout> {
        match self {
            Value::Ref { layout, .. } | Value::Mut { layout, .. } => Some(layout),
            Value::Scalar { .. } => None,
        }
    }

    /// In words, such as `a writable tensor of bf16`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Ref { dtype, .. } => format!("a tensor of {dtype}"),
            Value::Mut { dtype, .. } => format!("a writable tensor of {dtype}"),
            Value::Scalar { dtype, .. } => format!("a scalar of {dtype}"),
        }
    }
}

impl std::fmt::Debug for ArgValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.layout() {
            Some(layout) => write!(f, "{} {:?}", self.0.describe(), layout.shape),
            None => f.write_str(&self.0.describe()),
        }
    }
}
