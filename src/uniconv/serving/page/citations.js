// Citation marks such as [2] or [1, 3], the sentences before them, and the words that those
// sentences share with a passage.

const MARK = /\[\d{1,3}(?:\s*,\s*\d{1,3})*\]/g;
const MARKS_AT_END = /(?:\s*\[[\d,\s]*\])*\s*$/;
const HEADINGS = " > "; // as the index joins them to a title
const LONGEST_GAP = 3; // function words that may lie between two highlighted words

// Words that any two English sentences share; they say nothing about where a statement is from.
const FUNCTION_WORDS = new Set(
  `a about above after all also an and any are as at be because been before being below between
  both but by can could did do does doing don each few for from further had has have having he her
  here hers him his how i if in into is it its just me more most my no nor not of off on once only
  or other our ours out over own s same she should so some such t than that the their theirs them
  then there these they this those through to too under until up very was we were what when where
  which while who whom why will with would you your yours`.split(/\s+/),
);

const sentences = segmenter("sentence");
const words = segmenter("word");

/**
 * The marks in a text, in their order.
 * @returns {{start: number, end: number, numbers: number[]}[]}
 */
export function marks(text) {
  return Array.from(text.matchAll(MARK), (match) => ({
    start: match.index,
    end: match.index + match[0].length,
    numbers: match[0].slice(1, -1).split(",").map(Number),
  }));
}

/** The sentence that ends at `offset`, without marks. */
export function sentenceBefore(text, offset) {
  const before = text.slice(0, offset).replace(MARKS_AT_END, "");
  const all = Array.from(sentences(before), (part) => part.replace(MARK, "").trim());
  return all.filter(Boolean).at(-1) ?? "";
}

/** The passages that the answer's marks point to, by number. */
export function citedPassages(turn) {
  const numbers = new Set(marks(turn.text).flatMap((mark) => mark.numbers));
  return turn.passages.filter((passage) => numbers.has(passage.number));
}

/**
 * What a passage is called: the last heading of its title, and those above it.
 * @param {{title: string, id: string}} passage
 * @returns {{name: string, above: string}}
 */
export function nameOf({ title, id }) {
  const headings = (title || id).split(HEADINGS);
  return { name: headings.at(-1), above: headings.slice(0, -1).join(HEADINGS) };
}

/** All sentences of an answer that cite passage `number`. */
export function citingSentences(text, number) {
  return marks(text)
    .filter((mark) => mark.numbers.includes(number))
    .map((mark) => sentenceBefore(text, mark.start));
}

/**
 * A passage's text in runs; those that are marked hold words that the sentence shares with it.
 * Function words are marked only between two such words, so that phrases stay whole.
 * @param {string} text
 * @param {string} sentence
 * @returns {{text: string, marked: boolean}[]}
 */
export function highlighted(text, sentence) {
  const said = new Set(Array.from(tokens(sentence), (token) => token.word).filter(Boolean));
  const runs = [];
  let gap = [];
  const flush = () => {
    for (const token of gap) push(runs, token.text, false);
    gap = [];
  };
  for (const token of tokens(text)) {
    if (!said.has(token.word) || FUNCTION_WORDS.has(token.word)) {
      gap.push(token);
      continue;
    }
    if (runs.at(-1)?.marked && bridges(gap, said)) {
      for (const between of gap) push(runs, between.text, true);
      gap = [];
    }
    flush();
    push(runs, token.text, true);
  }
  flush();
  return runs;
}

function bridges(gap, said) {
  const between = gap.filter((token) => token.word);
  return (
    between.length <= LONGEST_GAP &&
    between.every((token) => FUNCTION_WORDS.has(token.word) && said.has(token.word)) &&
    gap.every((token) => token.word || /^[^\S\n]*[-–'’,]?[^\S\n]*$/.test(token.text))
  );
}

function push(runs, text, marked) {
  const last = runs.at(-1);
  if (last?.marked === marked) last.text += text;
  else runs.push({ text, marked });
}

/** Words, normalised, and what lies between them (`word` is empty). */
function* tokens(text) {
  for (const segment of words(text)) {
    // Segments such as "csv.reader" hold more than one word.
    for (const [part] of segment.matchAll(/[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+/gu)) {
      const isWord = /[\p{L}\p{N}]/u.test(part);
      yield { text: part, word: isWord ? part.normalize("NFKC").toLowerCase() : "" };
    }
  }
}

/** Splits a text; languages without spaces need the browser's own rules. */
function segmenter(granularity) {
  if (!globalThis.Intl?.Segmenter) {
    const pattern = granularity === "word" ? /\S+|\s+/g : /[^.!?]+[.!?]*\s*/g;
    return (text) => text.match(pattern) ?? [];
  }
  const own = new Intl.Segmenter(undefined, { granularity });
  return (text) => Array.from(own.segment(text), (part) => part.segment);
}
