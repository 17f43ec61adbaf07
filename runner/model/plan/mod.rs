//! What a workflow becomes for one event: filters, the graph of jobs, matrices.
