terraform {
  # 1.9 is the first version whose validations can refer to other variables.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Tested with 5.100.0. tests/terraform/provider6.json has the arguments of 6.62.0.
      version = ">= 5.100, < 7"
    }
  }
}
