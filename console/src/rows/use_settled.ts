/** A value once it has not changed for a while, for sliders and fields that ask the server. */
import { useEffect, useState } from "preact/hooks";

/** `value` as of `ms` ago, if it has not changed since. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
