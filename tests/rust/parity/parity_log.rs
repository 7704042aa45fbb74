//! What is compared with a reference, and how far the two are apart: `docs/parity.md`, made of `docs/parity.jsonl`,
//! which the tests themselves write (`make parity`).
//!
//! A test that holds something to a reference names it among the [`comparisons!`](comparisons) below and compares with
//! [`Comparison::close`] or [`Comparison::within`].

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::support::relative_error;

/// Where tests append what they compare, one JSON object a line.
const LOG: &str = "MEANFLOW_PARITY_LOG";
/// Whether tests write the pages that they otherwise compare.
const WRITE: &str = "MEANFLOW_WRITE_PAGES";

/// A part of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Networks,
    Objectives,
    Optimizers,
    Measurements,
    Data,
}

/// What something is compared with: packages of `tests/fixtures/requirements.txt`, or a formula where there are none.
#[derive(Debug)]
pub struct Reference {
    name: &'static str,
    packages: &'static [&'static str],
}

const PYTORCH: Reference = Reference { name: "PyTorch in float64", packages: &["torch"] };
const TORCH_OPTIM: Reference = Reference { name: "torch.optim in float64", packages: &["torch"] };
const DIFFUSERS: Reference = Reference { name: "diffusers in float64", packages: &["diffusers", "torch"] };
const SCIPY: Reference = Reference { name: "SciPy and numpy in float64", packages: &["scipy", "numpy"] };
const WAVELETS: Reference =
    Reference { name: "SciPy, numpy and PyWavelets in float64", packages: &["scipy", "numpy", "PyWavelets"] };
const PILLOW: Reference = Reference { name: "Pillow", packages: &["pillow"] };
const CLOSED_FORM: Reference = Reference { name: "the closed form", packages: &[] };

/// One subject and its reference.
#[derive(Debug)]
pub struct Comparison {
    kind: Kind,
    subject: &'static str,
    reference: Reference,
    /// The script or the file that holds the reference.
    of: &'static str,
}

macro_rules! comparisons {
    ($($name:ident = $kind:ident, $subject:literal, $reference:ident, $of:literal;)*) => {
        $(pub static $name: Comparison =
            Comparison { kind: Kind::$kind, subject: $subject, reference: $reference, of: $of };)*
        /// All of them, as the page orders them.
        static ALL: &[&Comparison] = &[$(&$name),*];
    };
}

comparisons! {
    DIT_UNCONDITIONAL = Networks, "DiT without classes", PYTORCH, "tests/fixtures/dit.py";
    DIT_CONDITIONAL = Networks, "DiT with classes", PYTORCH, "tests/fixtures/dit.py";
    DIT_PUBLISHED = Networks, "DiT from a checkpoint under its published names", PYTORCH, "tests/fixtures/dit.py";
    IMPROVED = Networks, "Transformer of improved MeanFlow", PYTORCH, "tests/fixtures/networks.py";
    PIXEL = Networks, "Transformer of pixel MeanFlow", PYTORCH, "tests/fixtures/networks.py";
    UNET = Networks, "U-Net of CIFAR-10", PYTORCH, "tests/fixtures/networks.py";
    AUTOENCODER = Networks, "Autoencoder of Stable Diffusion", DIFFUSERS, "tests/fixtures/latents.py";
    INCEPTION = Networks, "Inception-v3", PYTORCH, "tests/fixtures/evaluation.py";
    MEAN_FLOW = Objectives, "MeanFlow, a training step", PYTORCH, "tests/fixtures/dit.py";
    GUIDANCE = Objectives, "Guidance in the target of MeanFlow", PYTORCH, "tests/fixtures/objectives.py";
    IMPROVED_OBJECTIVE = Objectives, "Improved MeanFlow", PYTORCH, "tests/fixtures/objectives.py";
    IMPROVED_HEAD = Objectives, "Improved MeanFlow with a second head", PYTORCH, "tests/fixtures/objectives.py";
    GUIDANCE_INPUT = Objectives, "Guidance as an input of improved MeanFlow", PYTORCH, "tests/fixtures/objectives.py";
    PIXEL_OBJECTIVE = Objectives, "Pixel MeanFlow without its perceptual losses", PYTORCH, "tests/fixtures/objectives.py";
    DECOUPLED = Objectives, "Decoupled MeanFlow", PYTORCH, "tests/fixtures/objectives.py";
    TERMINAL_VELOCITY = Objectives, "Terminal velocity matching", PYTORCH, "tests/fixtures/objectives.py";
    ALPHA_FLOW = Objectives, "α-Flow with its clamp", PYTORCH, "tests/fixtures/objectives.py";
    SHORTCUT = Objectives, "Shortcut models with their clamps", PYTORCH, "tests/fixtures/objectives.py";
    CONSISTENCY = Objectives, "Consistency training of straight paths", PYTORCH, "tests/fixtures/objectives.py";
    MOMENT_MATCHING = Objectives, "Inductive moment matching, from memory of the paper", PYTORCH, "tests/fixtures/objectives.py";
    EXACT_TARGETS = Objectives, "Targets at the true field", CLOSED_FORM, "tests/rust/flow/oracle.rs";
    ADAMW = Optimizers, "AdamW", TORCH_OPTIM, "tests/fixtures/optimizers.py";
    ADAMW_NESTEROV = Optimizers, "AdamW with Nesterov's momentum", TORCH_OPTIM, "tests/fixtures/optimizers.py";
    MUON = Optimizers, "Muon", TORCH_OPTIM, "tests/fixtures/optimizers.py";
    FRECHET = Measurements, "Fréchet distance", SCIPY, "tests/fixtures/evaluation.py";
    KERNEL = Measurements, "Kernel distance", SCIPY, "tests/fixtures/evaluation.py";
    MANIFOLD = Measurements, "Precision and recall", SCIPY, "tests/fixtures/evaluation.py";
    LIKELIHOOD = Measurements, "Likelihood", CLOSED_FORM, "tests/rust/flow/oracle.rs";
    SAMPLING = Measurements, "Sampling in one step and in several", CLOSED_FORM, "tests/rust/flow/oracle.rs";
    ADM_CROP = Data, "Crop of ImageNet by ADM", PILLOW, "tests/fixtures/adm.py";
    AUGMENTATION = Data, "Augmentation of EDM", WAVELETS, "tests/fixtures/augmentation.py";
}

/// A line of the log: the largest difference that a test has found in one quantity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    subject: String,
    quantity: String,
    reference: String,
    version: String,
    difference: f64,
    bound: f64,
    test: String,
}

impl Comparison {
    /// Asserts that the largest difference, over the largest magnitude of the reference, is within a bound, and logs
    /// it.
    #[track_caller]
    pub fn close(&self, quantity: &str, ours: &[f32], reference: &[f32], bound: f64) {
        self.within(quantity, relative_error(ours, reference), bound);
    }

    /// The same of a difference that is known.
    #[track_caller]
    pub fn within(&self, quantity: &str, difference: f64, bound: f64) {
        assert!(difference <= bound, "{}, {quantity}: {difference:.3e} exceeds {bound:.1e}", self.subject);
        if let Some(file) = env::var_os(LOG) {
            self.log(Path::new(&file), quantity, difference, bound);
        }
    }

    fn log(&self, file: &Path, quantity: &str, difference: f64, bound: f64) {
        let line = Line {
            subject: self.subject.into(),
            quantity: quantity.into(),
            reference: self.reference.name.into(),
            version: self.reference.version(),
            difference,
            bound,
            test: std::thread::current().name().expect("a test has a name").into(),
        };
        let text = serde_json::to_string(&line).expect("it writes") + "\n";
        // In one piece, since tests run side by side.
        let log = OpenOptions::new().create(true).append(true).open(file);
        log.and_then(|mut log| log.write_all(text.as_bytes())).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

impl Reference {
    /// Names and versions of the packages that the fixtures are made with.
    fn version(&self) -> String {
        let versions = self.packages.iter().map(|package| {
            let mut lines = include_str!("../../fixtures/requirements.txt").lines();
            let found = lines.find_map(|line| line.split_once("==").filter(|(name, _)| name == package));
            let (name, version) = found.unwrap_or_else(|| panic!("requirements.txt has no {package}"));
            format!("{name} {version}")
        });
        versions.collect::<Vec<_>>().join(", ")
    }
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Asserts that a file of the repository is `text`, or writes it for `make parity`.
pub fn assert_page(path: &str, text: &str) {
    let file = in_repository(path);
    if env::var_os(WRITE).is_some() {
        fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    let found = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}; run `make parity`", file.display()));
    let differs = found.lines().zip(text.lines()).find(|(found, text)| found != text);
    assert!(found == text, "{path} is not of today's tests, run `make parity`: {differs:?}");
}

fn read(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}; run `make parity`", file.display()));
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", file.display()));
    text.lines().map(parse).collect()
}

/// The largest difference of each quantity, in the page's order.
fn largest(lines: Vec<Line>) -> Vec<Line> {
    let mut found: BTreeMap<(usize, String), Line> = BTreeMap::new();
    for line in lines {
        let place = ALL.iter().position(|comparison| comparison.subject == line.subject);
        let place = place.unwrap_or_else(|| panic!("{} is no comparison", line.subject));
        let largest = found.entry((place, line.quantity.clone())).or_insert_with(|| line.clone());
        if (line.difference, line.bound) > (largest.difference, largest.bound) {
            *largest = line;
        }
    }
    found.into_values().collect()
}

/// The authors' repositories, each at the commit that the settings are read at.
fn repositories() -> String {
    let table: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("../../fixtures/settings.json")).expect("it reads");
    let of = |file: &serde_json::Value| file["repository"].as_str().expect("a repository").to_owned();
    let all: BTreeSet<String> = table.values().map(of).collect();
    let link = |one: &String| {
        let (name, commit) = one.split_once('@').expect("a name and a commit");
        format!("- [`{name}`](https://github.com/{name}/tree/{commit}) at `{commit}`\n")
    };
    all.iter().map(link).collect()
}

fn page(lines: &[Line]) -> String {
    let mut page = String::from(
        "# Parity\n\n\
         What is held to a reference, and the largest difference that the tests found. A difference is over the\n\
         largest magnitude of the reference; ours is computed in float32. `make parity` runs the tests, which write\n\
         [`parity.jsonl`](parity.jsonl), and makes this page of it; the tests themselves fail where a difference\n\
         exceeds its bound. References are made by the scripts named here with the versions named here, which\n\
         [`requirements.txt`](../tests/fixtures/requirements.txt) pins. The settings of the papers are held to the\n\
         authors' files on [a page of their own](published.md).\n\n\
         A reference called \"PyTorch in float64\" is not the authors' code: it is networks and losses that this project\n\
         wrote a second time, in Python and from the papers, for PyTorch to run and differentiate; those of SciPy, numpy,\n\
         PyWavelets and Pillow are formulas written so over these libraries. They show how far our derivatives, gradients\n\
         and rounding are off, and that two writings of a formula agree, not that the paper was read rightly. Against\n\
         that, MeanFlow with its guidance and improved, pixel and decoupled MeanFlow were read beside their authors' code\n\
         at these commits, the ones that the settings are read at:\n\n",
    );
    page += &repositories();
    page += "\nReferences called diffusers and torch.optim are these libraries' own code, in float64 throughout.\n";
    for kind in [Kind::Networks, Kind::Objectives, Kind::Optimizers, Kind::Measurements, Kind::Data] {
        let _ = write!(
            page,
            "\n## {kind:?}\n\n| subject | quantity | compared with | version | largest difference | bound | test |\n\
             |---|---|---|---|--:|--:|---|\n"
        );
        for comparison in ALL.iter().filter(|comparison| comparison.kind == kind) {
            for line in lines.iter().filter(|line| line.subject == comparison.subject) {
                let Line { subject, quantity, reference, version, difference, bound, test } = line;
                let version = if version.is_empty() { "–" } else { version };
                let _ = write!(page, "| {subject} | {quantity} | [{reference}](../{}) ", comparison.of);
                let _ = writeln!(page, "| {version} | {difference:.1e} | {bound:.0e} | `{test}` |");
            }
        }
    }
    page
}

/// The file of a module of the tests, in whichever folder it lies.
fn file_of(module: &str) -> PathBuf {
    let folders = fs::read_dir(in_repository("tests/rust")).expect("a folder");
    let mut files = folders.map(|folder| folder.expect("an entry").path().join(format!("{module}.rs")));
    files.find(|file| file.is_file()).unwrap_or_default()
}

/// The committed log is whole, of the references that the tests have today, and the page is made of it.
#[test]
fn the_log_names_every_comparison_and_the_page_is_made_of_it() {
    let file = in_repository("docs/parity.jsonl");
    if env::var_os(WRITE).is_some() {
        let new = env::var_os(LOG).expect("the log that the tests have written");
        let line = |line: &Line| serde_json::to_string(line).expect("it writes") + "\n";
        let text: String = largest(read(Path::new(&new))).iter().map(line).collect();
        fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    let lines = read(&file);
    assert_eq!(lines.len(), largest(lines.clone()).len(), "a quantity is in the log twice");
    for comparison in ALL {
        let logged: Vec<_> = lines.iter().filter(|line| line.subject == comparison.subject).collect();
        assert!(!logged.is_empty(), "the log does not have {}; run `make parity`", comparison.subject);
        assert!(in_repository(comparison.of).exists(), "{}", comparison.of);
        for line in logged {
            assert_eq!(line.version, comparison.reference.version(), "{}; run `make parity`", comparison.subject);
            assert!(line.difference <= line.bound, "{line:?}");
            let (module, name) = line.test.rsplit_once("::").expect("a module and a function");
            let source = fs::read_to_string(file_of(module)).expect("its file");
            assert!(source.contains(&format!("fn {name}(")), "there is no test {}; run `make parity`", line.test);
        }
    }
    assert_page("docs/parity.md", &page(&lines));
}
