//! What JavaScript asks for: read once, from a plain object.

use js_sys::{Float32Array, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;
use crate::model::text::between;
use crate::model::weights::ModelInfo;
use crate::model::{Blend, Condition, Request, Solver};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a model says about itself. */
export interface GeneratorInfo {
  name: string;
  /** In pixels. */
  width: number;
  height: number;
  /** 4 = with transparency. */
  channels: 1 | 3 | 4;
  /** Empty for a model without classes. */
  classes: string[];
  /** Most words of a prompt that are read; 0 for a model that takes no prompts. */
  promptTokens: number;
  /** The words that it knows, in alphabetical order. */
  vocabulary: string[];
  /** Whether the scale of guidance is an input of the network. */
  guidance: boolean;
  license: string;
  source: string;
  description: string;
  /** Of the training. */
  step: number;
  /** What the training began with, if not afresh. */
  init: string | null;
  parameters: number;
  format_version: number;
  /** In which precision it multiplies. */
  arithmetic: 'f16' | 'f32';
}

/**
 * Which class pictures are of, or what describes them. Without a class each picture draws its own; without a prompt it
 * is the empty one.
 */
export interface ClassChoice {
  classIndex?: number;
  /** A place between classes: the index and the weight of each of up to four, one after the other. */
  blend?: ArrayLike<number>;
  /** Normalised, as `text.normalize('NFKC').toLowerCase()` gives it. */
  prompt?: string;
  /** With a prompt: another, and which share of the way to it pictures are, 0 to 1; without it 1. */
  promptTo?: string;
  promptShare?: number;
}

/** What to generate; picture `i` has the seed `seed + i`. */
export interface GenerateRequest extends ClassChoice {
  /** 0 to 2⁶⁴ − 1; without it 0. */
  seed?: bigint | number;
  /** How many pictures; without it 1. Noise that is given says it itself. */
  count?: number;
  /** Network calls per picture; without it 1. */
  nfe?: number;
  /** How, if not by the average velocity. */
  solver?: 'mean-flow' | 'restart' | 'euler' | 'midpoint' | 'heun' | 'dormand-prince';
  /** Scale of guidance, 1 to 100, of a model that has it as an input; without it 1, which is none. */
  guidance?: number;
  /** Standard normals in the place of those of the seeds, `[count, channels, height, width]`. */
  initialNoise?: Float32Array;
}

/** Pictures whose noise is asked for. */
export interface InvertRequest extends ClassChoice {
  /** `[count, channels, height, width]`, in −1 to 1. */
  values: Float32Array;
  /** Network calls per picture, an even number. */
  nfe: number;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// What to generate; the fields are those of the declaration above.
    #[wasm_bindgen(typescript_type = "GenerateRequest")]
    pub type GenerateRequest;
    /// Pictures whose noise is asked for.
    #[wasm_bindgen(typescript_type = "InvertRequest")]
    pub type InvertRequest;
}

/// Pictures to draw, as the engines take them.
pub struct Drawing {
    pub request: Request,
    pub solver: Solver,
    /// Scale of guidance; 1 is none.
    pub guidance: f32,
    /// In the place of that of the seeds.
    pub noise: Option<Vec<f32>>,
}

impl Drawing {
    /// # Errors
    /// A field of another type; what is out of range is left to the engine, which knows the model.
    pub fn read(object: &JsValue, info: &ModelInfo) -> Result<Self, Error> {
        let seed = field(object, "seed")
            .map_or(Some(0), |value| seed_of(&value))
            .ok_or_else(|| wrong("seed", "a whole number from 0 to 18446744073709551615"))?;
        let count = whole(object, "count")?.unwrap_or(1);
        let nfe = whole(object, "nfe")?.unwrap_or(1);
        let solver = match field(object, "solver") {
            Some(name) => name.as_string().ok_or_else(|| wrong("solver", "the name of a solver"))?.parse()?,
            None => Solver::default(),
        };
        let guidance = field(object, "guidance").map_or(Some(1.0), |scale| scale.as_f64());
        let guidance = guidance.ok_or_else(|| wrong("guidance", "a number"))? as f32;
        let request = Request { seed, count, class: class_in(object, info)?, nfe };
        Ok(Self { request, solver, guidance, noise: floats(object, "initialNoise") })
    }
}

/// Pictures to run backward.
pub struct Inversion {
    pub values: Vec<f32>,
    pub class: Condition,
    pub nfe: usize,
}

impl Inversion {
    /// # Errors
    /// As [`Drawing::read`].
    pub fn read(object: &JsValue, info: &ModelInfo) -> Result<Self, Error> {
        let values = floats(object, "values").ok_or_else(|| wrong("values", "the numbers of pictures"))?;
        let nfe = whole(object, "nfe")?.ok_or_else(|| wrong("nfe", WHOLE))?;
        Ok(Self { values, class: class_in(object, info)?, nfe })
    }
}

/// The class of an index, a place between classes, or a prompt.
fn class_in(object: &JsValue, info: &ModelInfo) -> Result<Condition, Error> {
    if let Some(prompt) = text(object, "prompt")? {
        let from = info.prompt(&prompt)?;
        return match (text(object, "promptTo")?, &info.net.text) {
            (Some(to), Some(config)) => {
                let share = field(object, "promptShare").map_or(Some(1.0), |share| share.as_f64());
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                let share = share.ok_or_else(|| wrong("promptShare", "a number from 0 to 1"))? as f32;
                let to = info.prompt(&to)?;
                Ok(Condition::Text(between(from.tokens(), to.tokens(), share, config).into()))
            }
            _ => Ok(from),
        };
    }
    let Some(blend) = floats(object, "blend") else { return Ok(whole(object, "classIndex")?.into()) };
    let (parts, rest) = blend.as_chunks::<2>();
    let is_index = |index: f32| index >= 0.0 && index.fract() == 0.0;
    if !rest.is_empty() || !parts.iter().all(|&[index, _]| is_index(index)) {
        return Err(wrong("blend", "an index and a weight for each class"));
    }
    let parts: Vec<(usize, f32)> = parts.iter().map(|&[index, weight]| (index as usize, weight)).collect();
    Blend::new(&parts).map(Condition::Between)
}

/// A field that is there, and not null.
fn field(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &JsValue::from_str(name)).ok().filter(|value| !value.is_null() && !value.is_undefined())
}

/// A text.
fn text(object: &JsValue, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = field(object, name) else { return Ok(None) };
    value.as_string().map(Some).ok_or_else(|| wrong(name, "a text"))
}

/// A whole number; one that is too large for this machine is the largest.
fn whole(object: &JsValue, name: &str) -> Result<Option<usize>, Error> {
    let Some(value) = field(object, name) else { return Ok(None) };
    let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    number.map(|number| Some(number as usize)).ok_or_else(|| wrong(name, WHOLE))
}

/// Numbers of an array of any kind.
fn floats(object: &JsValue, name: &str) -> Option<Vec<f32>> {
    field(object, name).map(|value| Float32Array::new(&value).to_vec())
}

fn seed_of(value: &JsValue) -> Option<u64> {
    let of_number = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    value.as_f64().map_or_else(|| u64::try_from(value.clone()).ok(), of_number)
}

const WHOLE: &str = "a whole number";

fn wrong(name: &str, wanted: &str) -> Error {
    Error::Request(format!("{name} must be {wanted}"))
}
