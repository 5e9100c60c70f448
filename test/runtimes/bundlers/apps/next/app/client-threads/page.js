"use client";

import { useEffect, useState } from "react";
import { product } from "../product.js";

export default function Page() {
  const [text, setText] = useState("working");
  useEffect(() => {
    product()
      .catch(String)
      .then((shown) => {
        setText(shown);
        parent.postMessage(shown, "*");
      });
  }, []);
  return <output>{text}</output>;
}
