import ts from "typescript";
import { textOf } from "./sources.ts";

/** One text of an error as its source has it: pieces of text, with `null` for each piece that is only known when it runs. */
export type Said = readonly (string | null)[];

/** What one error may say was expected, was found, and is to be done: several texts where the source chooses. */
export interface SaidFault {
  readonly file: string;
  readonly expected: readonly Said[];
  readonly got: readonly Said[];
  readonly fix: readonly Said[];
}

const PARTS = ["expected", "got", "fix"] as const;

/** The errors that a file of src can throw: each object with the parts `expected`, `got` and `fix`. */
export function faultsOf(file: string): SaidFault[] {
  const source = ts.createSourceFile(file, textOf("src", file), ts.ScriptTarget.ES2022, true);
  const found: SaidFault[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isObjectLiteralExpression(node)) {
      const parts = new Map(node.properties.flatMap((one) => partOf(one)));
      if (PARTS.every((part) => parts.has(part))) {
        const said = (part: (typeof PARTS)[number]) => textsOf(parts.get(part)!, source);
        found.push({ file, expected: said("expected"), got: said("got"), fix: said("fix") });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function partOf(property: ts.ObjectLiteralElementLike): [string, ts.Expression][] {
  if (ts.isPropertyAssignment(property)) return [[property.name.getText(), property.initializer]];
  return ts.isShorthandPropertyAssignment(property) ? [[property.name.text, property.name]] : [];
}

/** Every text that an expression can be, as far as its file tells. */
function textsOf(expression: ts.Expression, source: ts.SourceFile): Said[] {
  const again = (one: ts.Expression) => textsOf(one, source);
  if (ts.isStringLiteralLike(expression)) return [[expression.text]];
  if (ts.isParenthesizedExpression(expression)) return again(expression.expression);
  if (ts.isConditionalExpression(expression))
    return [...again(expression.whenTrue), ...again(expression.whenFalse)];
  if (
    ts.isBinaryExpression(expression) &&
    expression.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken
  )
    return [...again(expression.left), ...again(expression.right)];
  if (ts.isTemplateExpression(expression))
    return expression.templateSpans.reduce<Said[]>(
      (texts, { expression: inner, literal }) =>
        texts.flatMap((text) => again(inner).map((part) => [...text, ...part, literal.text])),
      [[expression.head.text]],
    );
  if (ts.isIdentifier(expression)) return textsOfName(expression, source);
  return [[null]];
}

/** A name stands for the constant of the file, or for what callers in the file give for the parameter. */
function textsOfName(name: ts.Identifier, source: ts.SourceFile): Said[] {
  const texts: Said[] = [];
  let isKnown = false;
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === name.text && node.initializer) {
      isKnown = true;
      texts.push(...textsOf(node.initializer, source));
    }
    const place = parameterOf(name);
    if (place !== null && ts.isCallExpression(node) && node.expression.getText() === place.of) {
      isKnown = true;
      const given = node.arguments[place.index];
      if (given !== undefined) texts.push(...textsOf(given, source));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return isKnown ? texts : [[null]];
}

/** The function whose parameter a name is, and which one; `null` of a name that is none. */
function parameterOf(name: ts.Identifier): { readonly of: string; readonly index: number } | null {
  for (let up: ts.Node = name; up.parent !== undefined; up = up.parent) {
    if (!ts.isFunctionLike(up)) continue;
    const index = up.parameters.findIndex((one) => one.name.getText() === name.text);
    if (index < 0) continue;
    const of = ts.isVariableDeclaration(up.parent) ? up.parent.name : up.name;
    return of === undefined ? null : { of: of.getText(), index };
  }
  return null;
}
