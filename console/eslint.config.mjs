import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(js.configs.recommended, tseslint.configs.recommended, {
  rules: {
    "@typescript-eslint/no-non-null-assertion": "off",
    "no-undef": "off", // tsc knows better
    "no-var": "error",
    "prefer-const": "error",
    eqeqeq: ["error", "smart"],
  },
});
