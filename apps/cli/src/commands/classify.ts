import type { Command } from 'commander';
import { ReportedError, report, sentence, UsageError, WorkError } from '../errors.ts';
import { note, paintFor, print, printJson, progress, type Io } from '../io.ts';
import { common, count, weightsOption, type CommonOptions } from '../options.ts';
import { bar, by, milliseconds, table } from '../text.ts';

interface ClassifyOptions extends CommonOptions {
  readonly model?: string;
  readonly weights?: string;
  readonly config?: string;
  readonly labels?: string;
  readonly top: number;
}

/** One of the best guesses. */
interface Prediction {
  readonly index: number;
  readonly label?: string;
  readonly probability: number;
  readonly logit: number;
}

type Answer =
  | { readonly input: string; readonly predictions: readonly Prediction[]; readonly milliseconds: number }
  | { readonly input: string; readonly error: string };

export function classify(program: Command, io: Io): void {
  const command = common(program.command('classify'), { computes: true })
    .summary('say what is in images')
    .description(
      'Says what is in images. Without --model and --weights the embedded checkpoint answers: pvt_v2_nano, ten classes of CIFAR-10, a demonstration.',
    )
    .argument('<input...>', 'images, or .safetensors holding input: float32 (N,3,H,W), already normalised')
    .option(
      '--model <name>',
      'a variant, see pvt models (default: as the weights say, else the embedded pvt_v2_nano)',
    )
    .option(...weightsOption)
    .option(
      '--config <file>',
      'the architecture as JSON, ours or a Hugging Face config.json (its class names are used)',
    )
    .option(
      '--labels <file>',
      'class names: one a line, a JSON array or object by index, or columns divided by tabs',
    )
    .option('--top <n>', 'how many guesses to show', count, 5)
    .addHelpText(
      'after',
      '\nExamples:\n  pvt classify photo.jpg\n  pvt classify *.jpg --top 1\n  pvt classify photo.jpg --weights pvt_v2_b2.pth --labels imagenet.tsv --json\n  pvt classify photo.jpg --weights timm/pvt_v2_b0.in1k\n\nA image that cannot be read is reported and does not stop the others; the exit code is 1 then.',
    );

  command.action(async (inputs: string[], options: ClassifyOptions) => {
    const { originOf, embeddedModel, loadModel } = await import('../model.ts');
    const embedded =
      options.model === undefined && options.weights === undefined && options.config === undefined;
    const wanted = embedded ? { ...options, model: embeddedModel } : options;
    originOf(wanted);
    const { startBackend } = await import('../backend.ts');
    const { isTensorFile, readInput } = await import('../input.ts');
    const { checkLabels, readLabels } = await import('../labels.ts');
    const tf = await import('@tensorflow/tfjs-core');

    const given = options.labels === undefined ? undefined : await readLabels(options.labels);
    const model = await progress(io, 'loading the model', async () => {
      await startBackend(options.backend, io);
      return loadModel(wanted, io);
    });
    try {
      const { backbone, head, config, preprocessing, guess } = model;
      if (!head)
        throw new WorkError(
          `classify: expected a model with a classifier, got ${model.title}, which has none; use pvt features, or other weights.`,
        );
      const labels = given ?? model.labels;
      if (labels) checkLabels(labels, config.classes);
      if (guess && !inputs.every(isTensorFile)) note(io, guess);
      if (!labels) note(io, 'the classes have no names here; --labels FILE gives them.');
      const paint = paintFor(io.stdout);
      if (!options.json) print(io, paint.dim(`${model.title}; ${options.backend}`));

      const answers: Answer[] = [];
      for (const input of inputs) {
        try {
          const classified = await progress(io, input, async () => {
            const start = performance.now();
            const { tensor, image } = await readInput(input, config, preprocessing);
            try {
              const logits = tf.tidy(() => head.forward(backbone.forward(tensor).embedding));
              const values = (await logits.data()) as Float32Array;
              logits.dispose();
              return { values, image, elapsed: performance.now() - start };
            } finally {
              tensor.dispose();
            }
          });
          const { values, image, elapsed } = classified;
          if (!values.every(Number.isFinite))
            throw new WorkError(
              `expected finite numbers out of the model, got others; are these the model's weights?`,
            );
          const rows = values.length / config.classes;
          for (let row = 0; row < rows; row++) {
            const predictions = best(
              values.subarray(row * config.classes, (row + 1) * config.classes),
              options.top,
              labels,
            );
            const name = image ? input : `${input}[${row}]`;
            answers.push({ input: name, predictions, milliseconds: elapsed / rows });
            if (options.json) continue;
            print(
              io,
              `\n${paint.bold(name)}${paint.dim(`  ${image ? `${by(image)}  ` : ''}${milliseconds(elapsed / rows)}`)}`,
            );
            for (const [index, line] of predictionLines(predictions).entries())
              print(io, index === 0 ? paint.green(line) : line);
          }
        } catch (error) {
          if (error instanceof UsageError) throw error;
          report(error, io, `${input}: `);
          answers.push({ input, error: sentence(error) });
        }
      }
      if (options.json) printJson(io, answers);
      if (answers.some((answer) => 'error' in answer)) throw new ReportedError();
    } finally {
      model.dispose();
    }
  });
}

/** The largest logits with their softmax over all classes. */
function best(logits: Float32Array, top: number, labels: readonly string[] | undefined): Prediction[] {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Array.from(logits, (logit, index) => ({
    index,
    ...(labels && { label: labels[index]! }),
    probability: Math.exp(logit - largest) / sum,
    logit,
  }))
    .sort((a, b) => b.logit - a.logit)
    .slice(0, top);
}

const labelWidth = 40;

function predictionLines(predictions: readonly Prediction[]): string[] {
  const named = predictions
    .map(({ label, index }) => label ?? `class ${index}`)
    .map((name) => (name.length > labelWidth ? `${name.slice(0, labelWidth - 1)}…` : name));
  return table(
    predictions.map(({ probability }, row) => [`  ${named[row]}`, `${(100 * probability).toFixed(1)} %`]),
    1,
  ).map((line, row) => `${line}  ${bar(predictions[row]!.probability)}`.trimEnd());
}
