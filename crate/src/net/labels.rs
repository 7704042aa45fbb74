//! What a network is told about the images of a batch besides the times: their classes, how strongly these guide, and
//! how the images were changed.

use burn::tensor::{Bool, Device, Int, Tensor};

use super::embed::Table;
use super::text::Prompts;
use crate::dual::Dual;

/// The classes of a batch; [`NetConfig::null_label`](super::NetConfig::null_label) means "no class".
///
/// Networks that guidance is an input of (improved MeanFlow, arXiv 2512.02012) are told it here; where it is not said,
/// they are told that there is none.
#[derive(Clone, Debug)]
pub struct Labels {
    classes: Classes,
    prompts: Option<Prompts>,
    guidance: Option<GuidanceScale>,
    changes: Option<Tensor<2>>,
}

#[derive(Clone, Debug)]
enum Classes {
    /// There are no classes.
    Absent,
    /// One class per image, `[batch]`.
    Named(Tensor<1, Int>),
    /// The share of every class and of the null label, `[batch, classes + 1]`.
    Blended(Tensor<2>),
}

/// Guidance as an input of the network: the scale ω, and the interval of times in which it holds.
#[derive(Clone, Debug)]
pub struct GuidanceScale {
    /// ω of each image, `[batch]`; 1 is none.
    pub scale: Tensor<1>,
    /// First guided time, towards data, `[batch]`.
    pub start: Tensor<1>,
    /// Last guided time, towards noise, `[batch]`.
    pub end: Tensor<1>,
}

impl GuidanceScale {
    /// No guidance for so many images on the device of `like`.
    pub fn none(like: &Tensor<1>) -> Self {
        Self { scale: like.ones_like(), start: like.zeros_like(), end: like.ones_like() }
    }

    /// What counts at the instants `t`: the scale within the interval and 1 outside, for all times.
    fn at(&self, t: &Tensor<1>) -> Self {
        let within = t.clone().greater_equal(self.start.clone()).bool_and(t.clone().lower_equal(self.end.clone()));
        let none = Self::none(t);
        Self { scale: none.scale.mask_where(within, self.scale.clone()), ..none }
    }

    fn map(self, each: impl Fn(Tensor<1>) -> Tensor<1>) -> Self {
        Self { scale: each(self.scale), start: each(self.start), end: each(self.end) }
    }
}

impl From<Tensor<1, Int>> for Labels {
    /// One class per image, `[batch]`.
    fn from(classes: Tensor<1, Int>) -> Self {
        Classes::Named(classes).into()
    }
}

impl From<Prompts> for Labels {
    /// Images of no class that prompts describe.
    fn from(prompts: Prompts) -> Self {
        Self { prompts: Some(prompts), ..Classes::Absent.into() }
    }
}

impl From<Classes> for Labels {
    fn from(classes: Classes) -> Self {
        Self { classes, prompts: None, guidance: None, changes: None }
    }
}

impl Labels {
    /// Images between classes: each is conditioned on the mean of the classes' embeddings by their shares.
    ///
    /// # Shapes
    /// `shares`: `[batch, classes + 1]`, rows of sum 1, the null label last.
    pub fn blended(shares: Tensor<2>) -> Self {
        Classes::Blended(shares).into()
    }

    /// Changed images, of the given classes where there are any.
    ///
    /// # Shapes
    /// `classes`: `[batch]`; `changes`: `[batch, CHANGES]`, with [`CHANGES`](crate::model::AUGMENT_DIM).
    pub fn with_augment_labels(classes: Option<Tensor<1, Int>>, changes: Tensor<2>) -> Self {
        Self { changes: Some(changes), ..classes.map_or(Classes::Absent, Classes::Named).into() }
    }

    /// The same images, described by prompts.
    pub fn with_prompts(self, prompts: Prompts) -> Self {
        Self { prompts: Some(prompts), ..self }
    }

    /// The prompts that describe the images.
    pub fn prompts(&self) -> Option<&Prompts> {
        self.prompts.as_ref()
    }

    /// How the images were changed, `[batch, CHANGES]`.
    pub fn augment_labels(&self) -> Option<&Tensor<2>> {
        self.changes.as_ref()
    }

    /// The same classes, with guidance told to the network.
    pub fn guided(self, guidance: GuidanceScale) -> Self {
        Self { guidance: Some(guidance), ..self }
    }

    /// The guidance that the network is told.
    pub fn guidance(&self) -> Option<&GuidanceScale> {
        self.guidance.as_ref()
    }

    /// The class of each image, `[batch]`; `None` for images between classes.
    pub fn named(&self) -> Option<&Tensor<1, Int>> {
        match &self.classes {
            Classes::Named(classes) => Some(classes),
            Classes::Absent | Classes::Blended(_) => None,
        }
    }

    /// `length` images from `start`.
    pub fn narrow(self, start: usize, length: usize) -> Self {
        self.map(
            |classes| classes.narrow(0, start, length),
            |rows| rows.narrow(0, start, length),
            |values| values.narrow(0, start, length),
            |prompts| prompts.narrow(start, length),
        )
    }

    /// The images of these rows.
    pub fn select(self, rows: &Tensor<1, Int>) -> Self {
        self.map(
            |classes| classes.select(0, rows.clone()),
            |all| all.select(0, rows.clone()),
            |values| values.select(0, rows.clone()),
            |prompts| prompts.select(rows),
        )
    }

    /// The same on another device.
    pub fn moved_to(self, device: &Device) -> Self {
        self.map(
            |classes| classes.to_device(device),
            |rows| rows.to_device(device),
            |values| values.to_device(device),
            |prompts| prompts.moved_to(device),
        )
    }

    fn map(
        self,
        named: impl FnOnce(Tensor<1, Int>) -> Tensor<1, Int>,
        rows: impl Fn(Tensor<2>) -> Tensor<2>,
        values: impl Fn(Tensor<1>) -> Tensor<1>,
        prompts: impl FnOnce(Prompts) -> Prompts,
    ) -> Self {
        let classes = match self.classes {
            Classes::Absent => Classes::Absent,
            Classes::Named(classes) => Classes::Named(named(classes)),
            Classes::Blended(shares) => Classes::Blended(rows(shares)),
        };
        let guidance = self.guidance.map(|guidance| guidance.map(values));
        Self { classes, prompts: self.prompts.map(prompts), guidance, changes: self.changes.map(rows) }
    }

    /// As many images of no class and with empty prompts, unguided, and changed as they were.
    pub fn null(&self, null_label: usize) -> Self {
        let classes = match &self.classes {
            Classes::Absent => Classes::Absent,
            Classes::Named(classes) => Classes::Named(classes.full_like(null_label as i32)),
            Classes::Blended(shares) => {
                Classes::Named(Tensor::full([shares.dims()[0]], null_label as i32, &shares.device()))
            }
        };
        let prompts = self.prompts.as_ref().map(Prompts::emptied);
        Self { classes, prompts, guidance: None, changes: self.changes.clone() }
    }

    /// Which images have a class or a prompt, `[batch]`.
    ///
    /// # Panics
    /// For images that can have neither.
    pub fn are_named(&self, null_label: usize) -> Tensor<1, Bool> {
        let of_class = match &self.classes {
            Classes::Absent => None,
            Classes::Named(classes) => Some(classes.clone().not_equal_elem(null_label as i32)),
            Classes::Blended(shares) => Some(shares.clone().narrow(1, null_label, 1).lower_elem(1.0).squeeze_dim(1)),
        };
        let of_prompt = self.prompts.as_ref().map(Prompts::are_given);
        let named = [of_class, of_prompt].into_iter().flatten().reduce(Tensor::bool_or);
        named.expect("who asks for named images has classes or prompts")
    }

    /// The labels for the velocity at the instants `t`, where an interval only decides whether the scale counts.
    pub fn at(&self, t: &Tensor<1>) -> Self {
        Self { guidance: self.guidance.as_ref().map(|guidance| guidance.at(t)), ..self.clone() }
    }

    /// The embedding of each image's class, `[batch, width]`.
    pub(super) fn embed(&self, table: &Table) -> Dual<2> {
        match &self.classes {
            Classes::Absent => unreachable!("a network with classes is told them"),
            Classes::Named(classes) => table.weight.val().select(0, classes.clone()),
            Classes::Blended(shares) => shares.clone().matmul(table.weight.val()),
        }
        .into()
    }

    /// The guidance told, or none, for the times `t`.
    pub(super) fn guidance_or_none(&self, t: &Tensor<1>) -> GuidanceScale {
        self.guidance.clone().unwrap_or_else(|| GuidanceScale::none(t))
    }
}
