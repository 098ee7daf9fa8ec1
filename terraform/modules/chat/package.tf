# The functions' packages: a file, or an object in S3.

locals {
  package_inputs = { lambda = var.package, authorizer = var.authorizer_package }

  # The default is where `make package` writes, from wherever the repository was checked out to.
  package_paths = {
    for name, each in local.package_inputs :
    name => each.s3 != null ? null : coalesce(each.path, "${path.module}/../../../build/${name}.zip")
  }

  packages = {
    for name, each in local.package_inputs : name => {
      path    = local.package_paths[name]
      bucket  = try(each.s3.bucket, null)
      key     = try(each.s3.key, null)
      version = try(each.s3.version, null)
      hash    = each.s3 != null ? each.s3.hash : try(filebase64sha256(local.package_paths[name]), null)

      # A zip begins with the bytes 50 4B 03 04: five characters of base64, and a part of the sixth.
      is_zip  = each.s3 != null || try(startswith(filebase64(local.package_paths[name]), "UEsDB"), false)
      problem = "There is no zip at ${abspath(coalesce(local.package_paths[name], "-"))}: run make package, or set ${name == "lambda" ? "package" : "authorizer_package"}."
    }
  }
}
