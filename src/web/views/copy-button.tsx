import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

interface CopyButtonProps {
  readonly label: string;
  /** Shown for a moment after it was pressed. */
  readonly copied: string;
  /** What is copied, asked for when it is. */
  text(): string;
}

/** Milliseconds for which the button says that it did something. */
const SAID = 2000;

/** Puts a text on the clipboard; nothing where pages have none, as those without https. */
export function CopyButton({ label, copied, text }: CopyButtonProps): JSX.Element | null {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), SAID);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const { clipboard } = navigator as { readonly clipboard?: Clipboard };
  if (clipboard === undefined) return null;
  const copy = () =>
    clipboard.writeText(text()).then(
      () => setCopied(true),
      () => {},
    );
  return (
    <button type="button" onClick={copy}>
      <span aria-live="polite">{isCopied ? copied : label}</span>
    </button>
  );
}
