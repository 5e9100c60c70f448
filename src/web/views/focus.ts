import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

/**
 * Focuses an element when it appears, if the element that had the focus is gone. Otherwise the focus stays
 * where it is.
 */
export function useFocus<E extends HTMLElement>(): RefObject<E | null> {
  const place = useRef<E>(null);
  useEffect(() => {
    if (document.activeElement === null || document.activeElement === document.body) place.current?.focus();
  }, []);
  return place;
}
