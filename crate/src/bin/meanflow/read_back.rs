//! `meanflow read-back`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use meanflow::data::{DataConfig, Exchange, Images, LayerSet};
use meanflow::eval::{ClassColumn, Classifier};
use meanflow::generator::Generator;
use meanflow::model::Solver;
use meanflow::{Condition, io};
use serde::Serialize;

use crate::images::{captions, load_columns, prompts, require_pictures};
use crate::inputs::{ColumnArgs, ModelOnData, for_model};

/// How often a model draws what its prompts say: classifiers name what they see in pictures of the captions of a set.
///
/// Beside it stands how often the classifiers are right about real images. The result is a table in
/// Markdown. With several classifiers, `all` is the share of pictures of which every classifier is right. Where
/// [data.layers] holds combinations out, the captions are of these, unless --split says otherwise.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: ModelOnData,
    /// Classifier as meanflow classifier writes it; may be given several times. All that the classifiers name is measured,
    /// unless --layer or --label chooses: of one classifier these, and of several one for each, in their order
    #[arg(long, value_name = "FILE", required = true)]
    classifier: Vec<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Also how well words are bound to two of these layers: pairs of prompts in which the layers have exchanged a
    /// word, such as red glasses with a green body, and green glasses with a red body. All words are taken for which
    /// the set has the four parts
    #[arg(long, value_name = "FOLDER,FOLDER", value_parser = two_layers)]
    swap: Option<[String; 2]>,
    /// How many pictures of each kind; with --swap, as many pairs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Seed of the first picture
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// JSON file to write as well
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A way in which pictures are drawn: what it is called, the solver, and network calls.
type Way = (&'static str, Solver, usize);

const WAYS: [Way; 3] =
    [("1 call", Solver::MeanFlow, 1), ("4 calls", Solver::MeanFlow, 4), ("Euler, 32 calls", Solver::Euler, 32)];

/// What stands for the pictures of the set itself, beside those that are drawn.
const REAL: &str = "real images";

/// Pictures of a call.
const BATCH: usize = 64;

/// A classifier, and one of the things that it names.
struct Reader<'a> {
    classifier: &'a Classifier,
    /// Which of its columns.
    column: usize,
    /// The column of the table.
    name: String,
    /// The settings by which a set tells the right class.
    settings: DataConfig,
    /// With `[data.layers]`, the layer whose parts it names.
    layer: Option<usize>,
}

/// The pictures that are asked for, and what each reader should see in them.
struct Asked {
    images: Images,
    prompts: Vec<Condition>,
    /// For each reader the class of each picture.
    wanted: Vec<Vec<usize>>,
}

/// What was measured.
#[derive(Serialize)]
struct Results {
    model: String,
    count: usize,
    classifiers: Vec<Column>,
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<Binding>,
}

/// A classifier of the table.
#[derive(Serialize)]
struct Column {
    name: String,
    classifier: String,
}

/// Shares of pictures that are named rightly.
#[derive(Serialize)]
struct Row {
    pictures: String,
    /// By each classifier.
    right: Vec<f64>,
    /// By all of them.
    all: f64,
}

/// How well words are bound to two layers.
#[derive(Serialize)]
struct Binding {
    layers: [String; 2],
    /// The pairs of words that were exchanged.
    words: Vec<[String; 2]>,
    pairs: usize,
    rows: Vec<BindingRow>,
}

/// Shares of the pictures of pairs of prompts.
#[derive(Serialize)]
struct BindingRow {
    pictures: String,
    /// Of pictures whose part of the first layer, and of the second, is named rightly.
    right: [f64; 2],
    /// Of pictures of which both are.
    both: f64,
    /// Of pictures that show what the other prompt of the pair says.
    exchanged: f64,
    /// Of pairs of which both pictures show what their prompts say.
    pairs: f64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(out) = &args.out {
        io::check_extension(out, "JSON", &["json"])?;
        io::check_not_input(out, args.subject.paths().chain(args.classifier.iter().map(PathBuf::as_path)))?;
    }
    let (device, model) = args.subject.open()?;
    if model.info().net.text.is_none() {
        bail!("{}: the model `{}` takes no prompts", args.subject.weights.display(), model.info().name);
    }
    let config = settings(args, &model)?;
    let set = match &config.layers {
        Some(_) => Some(LayerSet::open(&args.subject.data.data, &config)?),
        None => None,
    };
    let classifiers = open_classifiers(&args.classifier, &model, &device)?;
    let readers = readers(args, &config, set.as_ref(), &classifiers)?;
    let readers: Vec<&Reader> = readers.iter().collect();
    let asked = match &set {
        Some(set) => {
            let drawn: Vec<Vec<usize>> = (0..args.count as usize).map(|i| set.draw(i)).collect::<Result<_, _>>()?;
            Asked::of_layers(set, &drawn, &readers, &model)?
        }
        None => Asked::of_classes(args, &readers, &model)?,
    };
    for readers in of_classifiers(&readers) {
        let names: Vec<&str> = readers.iter().map(|reader| reader.name.as_str()).collect();
        say!("{}: {}", names.join(", "), readers[0].classifier.info().describe());
    }
    // What cannot be measured shows before anything is drawn.
    let pairs = match (&args.swap, &set) {
        (None, _) => None,
        (Some(layers), Some(set)) => Some(Pairs::of(set, layers, args.count as usize, &readers, &model)?),
        (Some(_), None) => bail!("--swap is for settings with [data.layers]"),
    };
    let rows = read_back(args, &model, &readers, &asked, &device)?;
    let swap = pairs.map(|pairs| pairs.read_back(args, &model, &device)).transpose()?;
    if let Some(out) = &args.out {
        let column =
            |reader: &&Reader| Column { name: reader.name.clone(), classifier: reader.classifier.info().describe() };
        let (model, count) = (model.info().name.clone(), asked.prompts.len());
        let results = Results { model, count, classifiers: readers.iter().map(column).collect(), rows, swap };
        io::write_atomic(out, serde_json::to_vec_pretty(&results)?)?;
    }
    Ok(())
}

/// The settings of the images that are asked for.
fn settings(args: &Args, model: &Generator) -> Result<DataConfig> {
    let mut config = for_model(args.subject.data.unseen_settings()?.data, model);
    if let Some(layers) = &mut config.layers {
        layers.count = args.count as usize;
        // Others than training draws.
        layers.seed = layers.seed.wrapping_add(1);
    }
    Ok(config)
}

/// The classifiers, each with its file.
fn open_classifiers<'p>(
    paths: &'p [PathBuf],
    model: &Generator,
    device: &Device,
) -> Result<Vec<(&'p Path, Classifier)>> {
    let open = |path: &'p PathBuf| {
        let read = || -> Result<Classifier> {
            let classifier = Classifier::from_bytes(&io::read_whole(path)?, device)?;
            let (info, net) = (classifier.info(), &model.info().net);
            if (info.size, info.channels) != (net.image_size, net.channels) {
                bail!(
                    "it names images of {0}×{0}×{1}, but the model's are {2}×{2}×{3}",
                    info.size,
                    info.channels,
                    net.image_size,
                    net.channels
                );
            }
            Ok(classifier)
        };
        Ok((path.as_path(), read().with_context(|| path.display().to_string())?))
    };
    paths.iter().map(open).collect()
}

/// What the classifiers name: with layers or columns that are given, that of each, and else all that they can.
fn readers<'a>(
    args: &Args,
    config: &DataConfig,
    set: Option<&LayerSet>,
    classifiers: &'a [(&Path, Classifier)],
) -> Result<Vec<Reader<'a>>> {
    let given = args.columns.settings(config)?;
    let is_given = args.columns.is_given();
    if is_given && classifiers.len() > 1 && given.len() != classifiers.len() {
        bail!(
            "--classifier is given {} times and {} {} times: each classifier names what one of them says",
            classifiers.len(),
            if set.is_some() { "--layer" } else { "--label" },
            given.len()
        );
    }
    let mut readers = Vec::new();
    for (i, (path, classifier)) in classifiers.iter().enumerate() {
        let read = || -> Result<Vec<Reader>> {
            let chosen = match (is_given, classifiers) {
                (false, _) => return own_columns(classifier, config, set),
                (true, [_]) => &given[..],
                (true, _) => &given[i..=i],
            };
            let reader = |settings: &DataConfig| {
                Reader::new(classifier, chosen_column(classifier, settings)?, settings.clone(), set)
            };
            chosen.iter().map(reader).collect()
        };
        readers.extend(read().with_context(|| path.display().to_string())?);
    }
    Ok(readers)
}

/// All that a classifier names.
fn own_columns<'a>(classifier: &'a Classifier, config: &DataConfig, set: Option<&LayerSet>) -> Result<Vec<Reader<'a>>> {
    let columns = classifier.info().columns.iter().enumerate();
    let reader = |(column, about): (usize, &ClassColumn)| {
        let mut settings = config.clone();
        match &about.name {
            Some(name) if set.is_some() => settings.set_class_layer(name)?,
            Some(name) => settings.set_label_column(name)?,
            None => {}
        }
        Reader::new(classifier, column, settings, set)
    };
    columns.map(reader).collect()
}

/// The column of a classifier that is called as the settings say. One that does not know what it names is believed.
fn chosen_column(classifier: &Classifier, settings: &DataConfig) -> Result<usize> {
    let columns = &classifier.info().columns;
    let asked = settings.class_column();
    if let [ClassColumn { name: None, .. }] = &columns[..] {
        return Ok(0);
    }
    columns.iter().position(|column| column.name == asked).with_context(|| {
        let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
        format!("it names {}, not {}", names.join(", "), asked.unwrap_or_default())
    })
}

/// The readers of each classifier, which stand together.
fn of_classifiers<'r, 'a>(readers: &'r [&'r Reader<'a>]) -> impl Iterator<Item = &'r [&'r Reader<'a>]> {
    readers.chunk_by(|a, b| std::ptr::eq(a.classifier, b.classifier))
}

impl<'a> Reader<'a> {
    fn new(classifier: &'a Classifier, column: usize, settings: DataConfig, set: Option<&LayerSet>) -> Result<Self> {
        let name = settings.class_column();
        let layer = match (set, &name) {
            (Some(set), Some(name)) => Some(set.layer(name)?),
            (Some(_), None) => bail!("--layer says which folder's parts a classifier names"),
            (None, _) => None,
        };
        let name = name.unwrap_or_else(|| classifier.info().data.clone());
        Ok(Self { classifier, column, name, settings, layer })
    }

    /// The index of a class.
    fn class(&self, name: &str) -> Result<usize> {
        let found = self.classifier.info().columns[self.column].classes.iter().position(|class| class == name);
        found.with_context(|| format!("the classifier of {} does not know the class `{name}`", self.name))
    }
}

impl Asked {
    /// Pictures of combinations of layers.
    fn of_layers(set: &LayerSet, drawn: &[Vec<usize>], readers: &[&Reader], model: &Generator) -> Result<Self> {
        let wanted = readers.iter().map(|reader| {
            let layer = reader.layer.context("--layer says which folder's parts a classifier names")?;
            drawn.iter().map(|parts| reader.class(set.part_name(layer, parts[layer]))).collect()
        });
        let wanted = wanted.collect::<Result<_>>()?;
        Self::new(set.pictures(drawn)?, wanted, model)
    }

    /// Pictures of a set with classes, for each reader those of its column.
    fn of_classes(args: &Args, readers: &[&Reader], model: &Generator) -> Result<Self> {
        let path = &args.subject.data.data;
        let settings: Vec<DataConfig> = readers.iter().map(|reader| reader.settings.clone()).collect();
        let (mut images, columns) = load_columns(path, &settings)?;
        require_pictures(path, &images)?;
        images.truncate(args.count as usize);
        let wanted = readers.iter().zip(&columns).map(|(reader, column)| -> Result<Vec<usize>> {
            if column.classes.is_empty() {
                bail!("{} has no classes, which a classifier could name", path.display());
            }
            let index: Vec<usize> = column.classes.iter().map(|name| reader.class(name)).collect::<Result<_>>()?;
            Ok(column.labels.iter().take(images.len()).map(|&label| index[label as usize]).collect())
        });
        let wanted = wanted.collect::<Result<_>>()?;
        Self::new(images, wanted, model)
    }

    fn new(images: Images, wanted: Vec<Vec<usize>>, model: &Generator) -> Result<Self> {
        let rows: Vec<usize> = (0..images.len()).collect();
        let prompts = prompts(&captions(&images, &rows), model.info())?;
        Ok(Self { images, prompts, wanted })
    }

    /// What each reader sees in real images, or in those that the model draws in a way, the first of this
    /// seed.
    fn see(
        &self,
        way: Option<Way>,
        seed: u64,
        model: &Generator,
        readers: &[&Reader],
        device: &Device,
    ) -> Result<Vec<Vec<usize>>> {
        see(readers, self.prompts.len(), device, |part| {
            let Some((_, solver, nfe)) = way else { return Ok(self.images.values(part)) };
            let each: Vec<Condition> = part.iter().map(|&row| self.prompts[row].clone()).collect();
            let drawn = model.sample_each(seed.wrapping_add(part[0] as u64), &each, nfe, solver.into())?.images;
            Ok(drawn.try_into_vec_as::<f32>().map_err(|e| meanflow::Error::Device(e.to_string()))?)
        })
    }
}

/// What each reader sees in each of `count` pictures, whose values in `[−1, 1]` `pictures` gives.
fn see(
    readers: &[&Reader],
    count: usize,
    device: &Device,
    mut pictures: impl FnMut(&[usize]) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<usize>>> {
    let mut seen = vec![Vec::with_capacity(count); readers.len()];
    let all: Vec<usize> = (0..count).collect();
    for part in all.chunks(BATCH) {
        let pictures = pictures(part)?;
        let mut seen = seen.iter_mut();
        for readers in of_classifiers(readers) {
            let named = readers[0].classifier.named(pictures.clone(), device)?;
            readers.iter().zip(&mut seen).for_each(|(reader, seen)| seen.extend(&named[reader.column]));
        }
    }
    Ok(seen)
}

/// The share of all `count` that are so.
fn share(count: usize, is_so: impl Fn(usize) -> bool) -> f64 {
    (0..count).filter(|&i| is_so(i)).count() as f64 / count as f64
}

/// A line of a table in Markdown: words, and shares in percent.
fn say_row(name: &str, shares: &[f64]) {
    let cells: Vec<String> = shares.iter().map(|share| format!("{:.1} %", 100.0 * share)).collect();
    say!("| {name} | {} |", cells.join(" | "));
}

/// Its head.
fn say_head(first: &str, columns: &[&str]) {
    let columns: Vec<_> = columns.iter().map(|column| io::markdown(column)).collect();
    say!("\n| {first} | {} |\n|---|{}", columns.join(" | "), "--:|".repeat(columns.len()));
}

/// How many pictures each classifier, and all of them, name rightly.
fn read_back(args: &Args, model: &Generator, readers: &[&Reader], asked: &Asked, device: &Device) -> Result<Vec<Row>> {
    let count = asked.prompts.len();
    let several = readers.len() > 1;
    let mut names: Vec<&str> = readers.iter().map(|reader| reader.name.as_str()).collect();
    names.extend(several.then_some("all"));
    say_head(&format!("named rightly, of {count}"), &names);
    let mut rows = Vec::new();
    for way in std::iter::once(None).chain(WAYS.map(Some)) {
        let seen = asked.see(way, args.seed, model, readers, device)?;
        let is_right = |reader: usize, i: usize| seen[reader][i] == asked.wanted[reader][i];
        let right: Vec<f64> = (0..readers.len()).map(|reader| share(count, |i| is_right(reader, i))).collect();
        let all = share(count, |i| (0..readers.len()).all(|reader| is_right(reader, i)));
        let pictures = way.map_or(REAL, |way| way.0);
        say_row(pictures, &right.iter().copied().chain(several.then_some(all)).collect::<Vec<_>>());
        rows.push(Row { pictures: pictures.into(), right, all });
    }
    Ok(rows)
}

/// Pairs of prompts that differ in which of two layers has which of two words.
struct Pairs<'r, 'a> {
    layers: [String; 2],
    words: Vec<[String; 2]>,
    /// Of each layer.
    readers: [&'r Reader<'a>; 2],
    /// Either side of the pairs.
    asked: [Asked; 2],
}

impl<'r, 'a> Pairs<'r, 'a> {
    /// As many as are asked for if the split has them.
    fn of(
        set: &LayerSet,
        names: &[String; 2],
        count: usize,
        readers: &[&'r Reader<'a>],
        model: &Generator,
    ) -> Result<Self> {
        let places = [set.layer(&names[0])?, set.layer(&names[1])?];
        let layers = places.map(|layer| set.layer_name(layer));
        let described = layers.join(",");
        // The other classifiers are not asked.
        let of_layer = |layer: usize| readers.iter().copied().find(|reader| reader.layer == Some(layer));
        let [Some(first), Some(second)] = places.map(of_layer) else {
            bail!("--swap {described} needs a --classifier of both");
        };
        let readers = [first, second];
        let exchanges = set.exchanges(places);
        let pairs = combinations(set, places, &exchanges, count)?;
        if pairs.is_empty() {
            bail!("--swap {described}: no two words can be exchanged, as no four parts differ in them alone");
        }
        let side = |side: usize| {
            let side: Vec<Vec<usize>> = pairs.iter().map(|pair| pair[side].clone()).collect();
            Asked::of_layers(set, &side, &readers, model)
        };
        let asked = [side(0)?, side(1)?];
        if asked[0].prompts == asked[1].prompts {
            bail!("--swap {described}: the caption of [data.layers] does not name them");
        }
        let mut words: Vec<[String; 2]> = exchanges.into_iter().map(|exchange| exchange.words).collect();
        words.sort();
        words.dedup();
        Ok(Self { layers, words, readers, asked })
    }

    /// How well the words are bound.
    fn read_back(self, args: &Args, model: &Generator, device: &Device) -> Result<Binding> {
        let Self { layers, words, readers, asked } = self;
        let count = asked[0].prompts.len();
        let listed: Vec<String> = words.iter().map(|[a, b]| format!("{a} and {b}")).collect();
        say!("\nexchanged between {} and {}: {}", layers[0], layers[1], listed.join(", "));
        let columns = [&layers[0], &layers[1], "both", "exchanged", "both prompts"];
        say_head(&format!("named rightly, of {count} pairs"), &columns);
        let mut rows = Vec::new();
        for way in std::iter::once(None).chain(WAYS.map(Some)) {
            let see = |asked: &Asked| asked.see(way, args.seed, model, &readers, device);
            let seen = [see(&asked[0])?, see(&asked[1])?];
            // Whether the picture of one side shows what the prompt of a side says.
            let shows = |side: usize, prompt: usize, reader: usize, i: usize| {
                seen[side][reader][i] == asked[prompt].wanted[reader][i]
            };
            let both = |side: usize, prompt: usize, i: usize| shows(side, prompt, 0, i) && shows(side, prompt, 1, i);
            let of_sides = |is_so: &dyn Fn(usize, usize) -> bool| {
                [0, 1].map(|side| share(count, |i| is_so(side, i))).iter().sum::<f64>() / 2.0
            };
            let row = BindingRow {
                pictures: way.map_or(REAL, |way| way.0).into(),
                right: [0, 1].map(|reader| of_sides(&|side, i| shows(side, side, reader, i))),
                both: of_sides(&|side, i| both(side, side, i)),
                exchanged: of_sides(&|side, i| both(side, 1 - side, i)),
                pairs: share(count, |i| both(0, 0, i) && both(1, 1, i)),
            };
            say_row(&row.pictures, &[row.right[0], row.right[1], row.both, row.exchanged, row.pairs]);
            rows.push(row);
        }
        Ok(Binding { layers, words, pairs: count, rows })
    }
}

/// What the set draws, but for two layers, whose parts are in turn those of each exchange; without pairs that the split
/// does not have.
fn combinations(
    set: &LayerSet,
    layers: [usize; 2],
    exchanges: &[Exchange],
    count: usize,
) -> Result<Vec<[Vec<usize>; 2]>> {
    let mut pairs = Vec::new();
    for (i, exchange) in exchanges.iter().cycle().take(count).enumerate() {
        let drawn = set.draw(i)?;
        let pair = exchange.parts.each_ref().map(|parts| {
            let mut combination = drawn.clone();
            layers.iter().zip(parts).for_each(|(&layer, &part)| combination[layer] = part);
            combination
        });
        if pair.iter().all(|combination| set.holds(combination)) {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

/// Two folders with a comma between them.
fn two_layers(text: &str) -> Result<[String; 2], String> {
    match text.split(',').map(str::trim).collect::<Vec<_>>()[..] {
        [first, second] if first != second => Ok([first.into(), second.into()]),
        _ => Err("it takes two folders with a comma between them, such as glasses,bodies".into()),
    }
}
