export { FailoverEngine } from './types/engine/failover.js';
export type { ModelInfo, Report, Request } from './types/engine/types.js';
