export default {
  optimizeDeps: { exclude: ['@meanflow/element'] },
};
