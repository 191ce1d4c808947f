// A lint rule of the house: every exported name has a doc comment directly above it. It sees presence only; whether the
// words are worth reading is for people.

const DECLARATIONS = new Set([
  'FunctionDeclaration',
  'ClassDeclaration',
  'VariableDeclaration',
  'TSInterfaceDeclaration',
  'TSTypeAliasDeclaration',
  'TSDeclareFunction',
]);

/** @type {import('eslint').Rule.RuleModule} */
export const documentedExports = {
  meta: { type: 'problem', schema: [], messages: { missing: 'An exported name needs a doc comment: /** … */.' } },
  create(context) {
    return {
      ExportNamedDeclaration(node) {
        if (node.declaration === null || !DECLARATIONS.has(node.declaration.type)) return;
        const above = context.sourceCode.getCommentsBefore(node).at(-1);
        const documents =
          above?.type === 'Block' &&
          above.value.startsWith('*') &&
          /\p{L}/u.test(above.value) &&
          above.loc.end.line >= node.loc.start.line - 1;
        if (!documents) context.report({ node, messageId: 'missing' });
      },
    };
  },
};
