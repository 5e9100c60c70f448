import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

/**
 * For what is to be read next when it appears: it gets the focus if what had it is gone. Where the user is busy
 * elsewhere, the focus stays there.
 */
export function useFocus<E extends HTMLElement>(): RefObject<E | null> {
  const place = useRef<E>(null);
  useEffect(() => {
    if (document.activeElement === null || document.activeElement === document.body) place.current?.focus();
  }, []);
  return place;
}
