export { FailoverEngine, type ModelInfo, type Request } from './types/failover.js';
