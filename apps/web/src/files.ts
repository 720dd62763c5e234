/** The files of a drop, including those inside folders. */
export async function droppedFiles(data: DataTransfer): Promise<File[]> {
  // The browser clears the transfer at the first await, so entries and files are read before it.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry());
  const files = [...data.files];
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  return (await Promise.all(entries.map((entry) => (entry === null ? [] : filesOf(entry))))).flat();
}

/** The file of an entry, or the files directly inside a folder. */
async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile)
    return [
      await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
    ];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[] = [];
  for (;;) {
    // A folder is read in portions. An empty portion marks the end.
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (portion.length === 0) return files;
    for (const child of portion) if (child.isFile) files.push(...(await filesOf(child)));
  }
}
