interface Disposable {
  dispose(): void;
}

/** Builds the parts of a model; if one of them fails, those that `track` was given before are freed. */
export function disposeOnError<Parts>(
  build: (track: <Part extends Disposable>(part: Part) => Part) => Parts,
): Parts {
  const built: Disposable[] = [];
  try {
    return build((part) => {
      built.push(part);
      return part;
    });
  } catch (error) {
    for (const part of built) part.dispose();
    throw error;
  }
}
