variable "model_id" {
  description = "A model id, an inference profile id, or the ARN of either."
  type        = string
  nullable    = false
}

variable "foundation_model_arns" {
  description = "The foundation models of an inference profile. If empty, they are derived from model_id."
  type        = list(string)
  nullable    = false
}

variable "account" {
  description = "The id of the account that owns the inference profiles."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "The AWS partition, such as aws or aws-us-gov."
  type        = string
  nullable    = false
}

variable "region" {
  description = "The Region in which the model is invoked, unless model_id is an ARN that names one."
  type        = string
  nullable    = false
}
