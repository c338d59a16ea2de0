/**
 * Bytes that one copy's may weigh. A transfer has 64 activities (workflows/transfer.ts), whose heartbeats are part of its
 * state, and Temporal terminates a workflow whose state is over 8 MiB (`limit.mutableStateSize.error`).
 */
export const HEARTBEAT_BYTES = (6 * 1024 * 1024) / 64;
