import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, noJsx: true, ignores: resolveIgnoresFromGitignore() }),
  {
    files: ['**/*.ts'],
    rules: {
      // A schema and its static type share a name; tsc itself reports what is declared twice.
      '@typescript-eslint/no-redeclare': 'off',
      // `void promise` as a statement says that nobody waits for it.
      'no-void': ['error', { allowAsStatement: true }]
    }
  },
  {
    // Runs in a browser; tsc knows what there is.
    files: ['examples/playground/page/*.js'],
    rules: { 'no-undef': 'off' }
  }
]
